package admin

import (
	"context"
	"net/http"
	"time"
)

// Backer writes backups of the node.
type Backer interface {
	// StartBackup begins to write one to a directory of the node's machine. Its error is one line that says why not.
	StartBackup(dir string) error
	// LastBackup tells of the one under way or the last one.
	LastBackup() Backup
}

// Backup is GET and POST /v1/backup.
type Backup struct {
	Known      bool      `json:"known"` // there was one since the node started
	Running    bool      `json:"running"`
	Error      string    `json:"error,omitempty"`
	Dir        string    `json:"dir,omitempty"`
	Node       string    `json:"node,omitempty"`
	Began      time.Time `json:"began,omitzero"`
	Seconds    float64   `json:"seconds"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`       // verified
	TotalBytes int64     `json:"total_bytes"` // to be verified
	Epoch      uint64    `json:"epoch"`
	RingHash   string    `json:"ring_hash,omitempty"`
	Transfers  int       `json:"transfers"` // that were under way or planned
}

// BackupRequest is the body of POST /v1/backup.
type BackupRequest struct {
	Dir string `json:"dir"` // the whole path of a directory that is new or empty
}

// backupRoutes serves /v1/backup.
func backupRoutes(mux *http.ServeMux, b Backer) {
	mux.HandleFunc("GET /v1/backup", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, b.LastBackup()) })
	mux.HandleFunc("POST /v1/backup", func(w http.ResponseWriter, r *http.Request) {
		var body BackupRequest
		if !readBody(w, r, &body) {
			return
		}
		if err := b.StartBackup(body.Dir); err != nil {
			reply(w, http.StatusConflict, problem{err.Error()})
			return
		}
		reply(w, http.StatusOK, b.LastBackup())
	})
}

// StartBackup asks POST /v1/backup.
func (c *Client) StartBackup(ctx context.Context, dir string) (Backup, error) {
	var b Backup
	return b, c.post(ctx, "/v1/backup", BackupRequest{dir}, &b)
}

// Backup asks GET /v1/backup.
func (c *Client) Backup(ctx context.Context) (Backup, error) {
	var b Backup
	return b, c.get(ctx, "/v1/backup", &b)
}
