package membership

import (
	"errors"
	"testing"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain",
		"1 error occurred:\n\t* failed to join a:1: EOF\n\n": "failed to join a:1: EOF",
		"2 errors occurred:\n\t* a: refused\n\t* b: EOF\n\n": "a: refused; b: EOF",
	} {
		if got := oneLine(errors.New(text)); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := oneLine(nil); got != "" {
		t.Errorf("no error became %q", got)
	}
}
