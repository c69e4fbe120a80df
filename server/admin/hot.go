package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Hot is GET /v1/hot: what clients ask for most at present, all over the cluster. Rates are estimates from a
// sample: those of keys what a key has at least.
type Hot struct {
	HalfLife   float64        `json:"half_life_seconds"` // after which a request counts half
	Members    int            `json:"members"`
	Silent     int            `json:"silent"` // of them, that did not answer: what their clients ask for is missing
	Reads      float64        `json:"reads_a_second"`
	Writes     float64        `json:"writes_a_second"`
	Keys       []HotKey       `json:"keys"`       // the busiest first
	Partitions []HotPartition `json:"partitions"` // the busiest first
}

// HotKey is a key that is asked for often.
type HotKey struct {
	Key       string   `json:"key"`                // its beginning, where it is long; bytes that are no text are escaped as in Go
	Base64    string   `json:"base64,omitempty"`   // the same bytes, when some had to be escaped
	Bytes     int      `json:"bytes"`              // of the whole key
	Beginning bool     `json:"beginning,omitzero"` // Key is not all of it
	Database  int      `json:"database"`
	Reads     float64  `json:"reads_a_second"`
	Writes    float64  `json:"writes_a_second"`
	Share     float64  `json:"share"` // of all requests, of one
	Slot      int      `json:"slot"`
	Partition int      `json:"partition"`
	Replicas  []string `json:"replicas"` // names, the soft primary first
}

// HotPartition is a partition whose keys are asked for often.
type HotPartition struct {
	Partition int      `json:"partition"`
	Reads     float64  `json:"reads_a_second"`
	Writes    float64  `json:"writes_a_second"`
	Share     float64  `json:"share"`
	Replicas  []string `json:"replicas"`
}

// DefaultTop and MaxTop are how many keys and partitions /v1/hot lists: unless it is told, and at most.
const (
	DefaultTop = 20
	MaxTop     = 1000
)

// hotRoute serves /v1/hot.
func hotRoute(mux *http.ServeMux, hot func(ctx context.Context, top int) Hot) {
	mux.HandleFunc("GET /v1/hot", func(w http.ResponseWriter, r *http.Request) {
		top := DefaultTop
		if text := r.URL.Query().Get("top"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > MaxTop {
				reply(w, http.StatusBadRequest, problem{fmt.Sprintf("top %q is not a number from 1 to %d", text, MaxTop)})
				return
			}
			top = n
		}
		ctx, cancel := context.WithTimeout(r.Context(), hotTimeout)
		defer cancel()
		reply(w, http.StatusOK, hot(ctx, top))
	})
}

// hotTimeout bounds the question to the other members, below the client's patience.
const hotTimeout = clientTimeout - time.Second

// Hot asks GET /v1/hot.
func (c *Client) Hot(ctx context.Context, top int) (Hot, error) {
	var h Hot
	return h, c.get(ctx, "/v1/hot?top="+strconv.Itoa(top), &h)
}
