package main

import (
	"math"
	"math/rand/v2"

	"kvstore/storage/key"
)

// slotShift takes a token to its slot: the upper 14 of its 62 bits.
const slotShift = key.TokenBits - 14

// token is the uniform hash of the number i, as a user's key would have it.
func token(i uint64) uint64 {
	i += 0x9e3779b97f4a7c15
	i = (i ^ i>>30) * 0xbf58476d1ce4e5b9
	i = (i ^ i>>27) * 0x94d049bb133111eb
	return (i ^ i>>31) >> (64 - key.TokenBits)
}

// appendKey appends the engine key of the user key "key:%012d" of the number i.
func appendKey(dst []byte, i uint64) []byte {
	name := [16]byte{'k', 'e', 'y', ':'}
	for at, rest := len(name)-1, i; at > 3; at-- {
		name[at] = '0' + byte(rest%10)
		rest /= 10
	}
	return key.AppendUser(dst, token(i), 0, name[:])
}

// values cuts values out of a text that compresses to about a half.
type values struct {
	text []byte
	size int
}

// textSize is far more than a block, so that blocks hold no repetition but that within a value.
const textSize = 1 << 20

func newValues(size int) *values {
	r := rand.New(rand.NewPCG(7, 7))
	v := &values{text: make([]byte, 0, textSize+size+100), size: size}
	var piece [50]byte
	for len(v.text) < textSize+size {
		for i := range piece {
			piece[i] = byte(r.Uint32())
		}
		v.text = append(append(v.text, piece[:]...), piece[:]...)
	}
	return v
}

// at returns the value number i.
func (v *values) at(i uint64) []byte {
	start := i * 100 % textSize
	return v.text[start : start+uint64(v.size)]
}

// zipf draws numbers below n of which few are frequent, as YCSB does (Gray et al., "Quickly Generating Billion-Record
// Synthetic Databases", 1994). The frequent ones need no scattering here: tokens scatter them.
type zipf struct {
	n               float64
	alpha, zeta, at float64
	half            float64
}

// theta is YCSB's skew.
const theta = 0.99

func newZipf(n int) *zipf {
	z := &zipf{n: float64(n), alpha: 1 / (1 - theta), half: 1 + math.Pow(0.5, theta)}
	for i := 1; i <= n; i++ {
		z.zeta += math.Pow(float64(i), -theta)
	}
	z.at = (1 - math.Pow(2/z.n, 1-theta)) / (1 - z.half/z.zeta)
	return z
}

func (z *zipf) draw(r *rand.Rand) uint64 {
	u := r.Float64()
	switch uz := u * z.zeta; {
	case uz < 1:
		return 0
	case uz < z.half:
		return 1
	}
	return min(uint64(z.n*math.Pow(z.at*u-z.at+1, z.alpha)), uint64(z.n)-1)
}
