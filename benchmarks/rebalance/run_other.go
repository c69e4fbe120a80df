//go:build !linux

package main

import (
	"errors"
	"io"
)

func run([]string, io.Writer, io.Writer) (int, error) {
	return 1, errors.New("needs the /proc of Linux")
}
