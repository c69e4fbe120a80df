package cli

import "golang.org/x/sys/unix"

// getTermios asks a terminal for its settings, which nothing else has.
const getTermios = unix.TCGETS
