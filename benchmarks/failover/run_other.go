//go:build !linux

package main

import "errors"

func run([]string) (int, error) {
	return 1, errors.New("needs the network namespaces of Linux")
}
