package storage

import "kvstore/storage/vfs"

// Files are the engine's files in a directory, by kind, for those who look at it from outside.
type Files struct {
	// Tables and Logs are their numbers, ascending, and Others the names of manifests and of unfinished files.
	Tables, Logs []uint64
	Others       []string
	// Last is the largest number in use.
	Last uint64
}

// ListFiles sorts the names in a directory. Names that are not the engine's are left out.
func ListFiles(fsys vfs.FS, dir string) (Files, error) {
	f, err := listFiles(fsys, dir)
	return Files{Tables: f.tables, Logs: f.logs, Others: f.others, Last: f.last}, err
}

// LockName is the file whose lock keeps other processes out of a directory.
const LockName = lockName

// TableName returns the name of the table with a number.
func TableName(number uint64) string { return tableName(number) }

// LogName returns the name of the log with a number.
func LogName(number uint64) string { return logName(number) }
