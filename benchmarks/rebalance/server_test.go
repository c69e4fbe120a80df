package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// fake is a server that keeps strings; answer may answer a command instead.
type fake struct {
	address string
	answer  func(command []string) (reply string, answered bool)

	mu      sync.Mutex
	strings map[string]string // guarded by mu
	asked   [][]string        // guarded by mu: what answer did not answer
}

func serve(t *testing.T, answer func([]string) (string, bool)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: l.Addr().String(), answer: answer, strings: map[string]string{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.speak(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return f
}

// speak answers one connection until the client closes it.
func (f *fake) speak(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		command, err := readCommand(r)
		if err != nil {
			return
		}
		fmt.Fprint(c, f.reply(command))
	}
}

func readCommand(r *bufio.Reader) (words []string, err error) {
	count := 0
	if _, err := fmt.Fscanf(r, "*%d\r\n", &count); err != nil {
		return nil, err
	}
	for range count {
		word, _, err := readString(r)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}

func (f *fake) reply(command []string) string {
	if f.answer != nil {
		if reply, answered := f.answer(command); answered {
			return reply
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, command)
	switch strings.ToLower(command[0]) {
	case "set":
		f.strings[command[1]] = command[2]
	case "get":
		value, found := f.strings[command[1]]
		if !found {
			return "$-1\r\n"
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	}
	return "+OK\r\n"
}

// commands are what came, with a blank between words.
func (f *fake) commands() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, command := range f.asked {
		all = append(all, strings.Join(command, " "))
	}
	return all
}
