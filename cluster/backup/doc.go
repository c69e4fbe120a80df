// Package backup is the form that a node's backup has on a disk: the files of a data directory, and a manifest that says
// whose they are, of which moment, and what each of them sums to. It copies and verifies files; what the files mean, and
// what a directory made of them is to others, package cluster knows.
//
// A backup is a directory with
//
//	backup.json   the manifest, written last: without it there is no backup
//	ring, clock, node.json, CURRENT, MANIFEST-…, *.sst
//	              the files that it lists, and no others that count
//	LOCK          while it is being made: see Claim
//
// The manifest is JSON for people and programs: a Manifest. Sums are XXH64 of a whole file, 16 hexadecimal digits: they
// find what disks and copying do to files, and are no protection against somebody who means harm.
package backup
