package consensus

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"kvstore/cluster/ring"
)

func examples(t testing.TB) (requests []Request, answers []Answer) {
	r, _, err := ring.Build(nil, []ring.Member{{ID: 1, Name: "a", Weight: 1}, {ID: 2, Name: "b", Weight: 1}}, ring.Options{ClusterID: 3, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	base, ballot := Base{1, 2, 3}, Ballot{4, 5}
	return []Request{
			{Kind: Prepare, Base: base, Ballot: ballot},
			{Kind: Accept, Forced: true, Base: base, Ballot: ballot, Ring: r},
			{Kind: Learn, Ring: r},
		}, []Answer{
			{Verdict: Yes}, {Verdict: Yes, Ballot: ballot, Ring: r}, {Verdict: Outbid, Ballot: ballot},
			{Verdict: Superseded, Ring: r}, {Verdict: Behind}, {Verdict: NoVoter},
		}
}

func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	requests, answers := examples(t)
	for i := range requests {
		var got Request
		if err := got.Decode(requests[i].Encode()); err != nil || !reflect.DeepEqual(got, requests[i]) {
			t.Errorf("%+v became %+v, %v", requests[i], got, err)
		}
	}
	for i := range answers {
		var got Answer
		if err := got.Decode(answers[i].Encode()); err != nil || !reflect.DeepEqual(got, answers[i]) {
			t.Errorf("%+v became %+v, %v", answers[i], got, err)
		}
	}
	s := state{life: 9, base: Base{1, 2, 3}, promised: Ballot{4, 5}, accepted: Ballot{3, 6}, ring: requests[2].Ring}
	var got state
	if err := got.decode(s.encode()); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v became %+v, %v", s, got, err)
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	t.Parallel()
	requests, answers := examples(t)
	prepare, accept := requests[0].Encode(), requests[1].Encode()
	for name, b := range map[string][]byte{
		"empty": nil, "short": prepare[:requestHead-1], "kind": append([]byte{9}, prepare[1:]...),
		"flags": append([]byte{1, 2}, prepare[2:]...), "a ring too many": append(prepare[:len(prepare):len(prepare)], accept[requestHead:]...),
		"no ring": accept[:requestHead], "half a ring": accept[:len(accept)-1],
	} {
		var r Request
		if err := r.Decode(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	superseded := answers[3].Encode()
	for name, b := range map[string][]byte{
		"empty": nil, "short": superseded[:answerHead-1], "verdict": append([]byte{6}, superseded[1:]...), "no ring": superseded[:answerHead],
	} {
		var a Answer
		if err := a.Decode(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stored := (&state{life: 1}).encode()
	for i := range stored {
		damaged := bytes.Clone(stored)
		damaged[i] ^= 1
		var s state
		if err := s.decode(damaged); !errors.Is(err, ErrState) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// FuzzMessages: what is read, is written again as it was.
func FuzzMessages(f *testing.F) {
	requests, answers := examples(f)
	for i := range requests {
		f.Add(requests[i].Encode())
	}
	for i := range answers {
		f.Add(answers[i].Encode())
	}
	f.Add((&state{life: 1, ring: requests[2].Ring}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if err := r.Decode(b); err == nil {
			var again Request
			if err := again.Decode(r.Encode()); err != nil || nameOf(again.Ring) != nameOf(r.Ring) || again.Ballot != r.Ballot || again.Base != r.Base {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		var a Answer
		if err := a.Decode(b); err == nil {
			var again Answer
			if err := again.Decode(a.Encode()); err != nil || nameOf(again.Ring) != nameOf(a.Ring) || again.Ballot != a.Ballot {
				t.Errorf("%+v became %+v, %v", a, again, err)
			}
		}
		var s state
		if err := s.decode(b); err == nil {
			var again state
			if err := again.decode(s.encode()); err != nil || again.base != s.base || again.promised != s.promised || again.accepted != s.accepted {
				t.Errorf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}

func nameOf(r *ring.Ring) Base {
	if r == nil {
		return Base{}
	}
	return BaseOf(r)
}
