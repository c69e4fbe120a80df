package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Repairer compares replicas on demand.
type Repairer interface {
	// Repair begins to compare one partition, all when it is negative. It is false
	// when a repair is under way already.
	Repair(partition int) (began bool, err error)
	// Repaired tells of the repair under way or the last one, and of filling.
	Repaired() Repair
}

// Repair is GET and POST /v1/repair.
type Repair struct {
	Running    bool      `json:"running"`
	Known      bool      `json:"known"`      // there was one since the node started
	Partitions int       `json:"partitions"` // to be compared
	Done       int       `json:"done"`       // of them
	Incomplete int       `json:"incomplete"` // of those: not equal among all replicas in the end
	Keys       int64     `json:"keys"`
	Differing  int64     `json:"differing"`
	MovedBytes int64     `json:"moved_bytes"`
	Began      time.Time `json:"began,omitzero"`
	Seconds    float64   `json:"seconds"` // since it began, or that it took
	Errors     []string  `json:"errors,omitempty"`
	Filling    int64     `json:"filling"`          // partitions of this node that are being filled by others
	Refill     *Refill   `json:"refill,omitempty"` // how far they are
}

// RepairRequest is the body of POST /v1/repair.
type RepairRequest struct {
	Partition *int `json:"partition,omitempty"` // absent: all
}

// repairRoutes serves /v1/repair.
func repairRoutes(mux *http.ServeMux, r Repairer) {
	mux.HandleFunc("GET /v1/repair", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, r.Repaired()) })
	mux.HandleFunc("POST /v1/repair", func(w http.ResponseWriter, request *http.Request) {
		var body RepairRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, request.Body, maxBodyBytes)).Decode(&body); err != nil {
			reply(w, http.StatusBadRequest, problem{`read the request: ` + err.Error() + `; want {} or {"partition": 5}`})
			return
		}
		partition := -1
		if body.Partition != nil {
			partition = max(*body.Partition, 0)
		}
		began, err := r.Repair(partition)
		switch {
		case err != nil:
			reply(w, http.StatusConflict, problem{err.Error()})
		case !began:
			reply(w, http.StatusConflict, problem{"a repair is under way already; GET /v1/repair follows it"})
		default:
			reply(w, http.StatusOK, r.Repaired())
		}
	})
}

// StartRepair asks POST /v1/repair, for all partitions when partition is negative.
func (c *Client) StartRepair(ctx context.Context, partition int) (Repair, error) {
	var request RepairRequest
	if partition >= 0 {
		request.Partition = &partition
	}
	var r Repair
	return r, c.post(ctx, "/v1/repair", request, &r)
}

// Repair asks GET /v1/repair.
func (c *Client) Repair(ctx context.Context) (Repair, error) {
	var r Repair
	return r, c.get(ctx, "/v1/repair", &r)
}
