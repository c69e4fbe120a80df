package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Operator changes who is in the cluster and what each node holds. Its errors are one line that
// says why not, and what to do.
type Operator interface {
	// Cluster tells of the members and of what moves between them.
	Cluster(ctx context.Context) (Cluster, error)
	// Plan says what a change would do, and does nothing.
	Plan(ctx context.Context, c Change) (Plan, error)
	// Commit makes the change.
	Commit(ctx context.Context, c Change) (Changed, error)
	// Abort gives up what is planned and not yet switched.
	Abort(ctx context.Context) (Changed, error)
	// Pause has nothing more begin to move, or lets it.
	Pause(ctx context.Context, paused bool) (Changed, error)
	// Recover makes the members that the node reaches the whole cluster.
	Recover(ctx context.Context) (Changed, error)
}

// Change is what is to become different: the body of POST /v1/cluster/plan and commit. Nodes are
// named by name or id. One that says nothing commits the members that are joining.
type Change struct {
	// Epoch is Plan.Epoch of the plan that was looked at: the change is refused if another was
	// made since. Zero: whatever there is now.
	Epoch        uint64        `json:"epoch,omitempty"`
	Commit       bool          `json:"commit,omitempty"` // members that are joining get their share
	Decommission []string      `json:"decommission,omitempty"`
	Remove       []string      `json:"remove,omitempty"` // they are dead for good
	Lose         bool          `json:"lose,omitempty"`   // removing may lose what nobody else has
	Replace      []Replacement `json:"replace,omitempty"`
	Weight       []NodeWeight  `json:"weight,omitempty"`
	Replication  *Replication  `json:"replication,omitempty"`
}

// Replication is how many replicas each partition is to have: N, or so many in each data
// centre that PerDC names, and none elsewhere.
type Replication struct {
	N     int            `json:"n,omitempty"`
	PerDC map[string]int `json:"per_dc,omitempty"`
}

// Replacement has one node take the place of another.
type Replacement struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// NodeWeight is a node's weight to be.
type NodeWeight struct {
	Node   string  `json:"node"`
	Weight float64 `json:"weight"`
}

// Plan is what a change would do: the answer of POST /v1/cluster/plan.
type Plan struct {
	Epoch     uint64      `json:"epoch"` // of the ring it was made from, for Change.Epoch
	Changes   bool        `json:"changes"`
	Before    string      `json:"replication_before"` // replicas asked for: "3" or "east=3,west=3"
	After     string      `json:"replication_after"`
	Nodes     []PlanShare `json:"nodes"`
	Transfers int         `json:"transfers"`
	Moves     int         `json:"moves"`       // transfers that bring a replica to a node
	LeastMove int         `json:"least_moves"` // that these shares take at least
	Keys      int64       `json:"keys"`        // to be moved
	Bytes     int64       `json:"bytes"`
	Rate      int64       `json:"rate"`     // bytes a second of the node that takes longest: its transfer.rate
	Measured  bool        `json:"measured"` // or what it takes now, because it is taking some
	Parallel  int         `json:"parallel"` // partitions that it takes at a time: its transfer.moves
	Seconds   float64     `json:"seconds"`  // an estimate, by these
	Unsized   int         `json:"unsized"`  // of Moves: nobody who holds the partition said how large it is
	Paused    bool        `json:"paused"`   // nothing moves until it is resumed
	Notes     []string    `json:"notes"`
}

// PlanShare is what one node has to do with a plan.
type PlanShare struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	DC          string  `json:"dc"`
	Rack        string  `json:"rack"`
	State       string  `json:"state"` // when the change is made
	Weight      float64 `json:"weight"`
	Before      int     `json:"before"` // partitions
	After       int     `json:"after"`
	BeforeShare float64 `json:"before_share"` // of all replicas, of one
	AfterShare  float64 `json:"after_share"`
	InBytes     int64   `json:"in_bytes"`
	InKeys      int64   `json:"in_keys"`
	OutBytes    int64   `json:"out_bytes"`
	OutKeys     int64   `json:"out_keys"`
}

// Changed is the answer of what changes the ring.
type Changed struct {
	Epoch     uint64 `json:"epoch"`
	Changed   bool   `json:"changed"` // false: it was so already
	Transfers int    `json:"transfers"`
	Paused    bool   `json:"paused"`
	Note      string `json:"note,omitempty"` // what is not done yet, though the change holds
}

// Cluster is GET /v1/cluster.
type Cluster struct {
	ClusterID  string          `json:"cluster_id"`
	Self       string          `json:"self"`
	Generation uint64          `json:"generation"`
	Epoch      uint64          `json:"epoch"`
	Planned    uint64          `json:"planned"` // epoch of the last plan
	Partitions int             `json:"partitions"`
	Replicas   int             `json:"replicas"`         // asked for, of each partition
	PerDC      map[string]int  `json:"per_dc,omitempty"` // of them, by data centre, if they are asked for so
	Paused     bool            `json:"paused"`
	Waiting    int             `json:"waiting"` // transfers by step
	Copying    int             `json:"copying"`
	Switched   int             `json:"switched"`
	Members    []ClusterMember `json:"members"`
}

// ClusterMember is a member and how far it is.
type ClusterMember struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	DC         string      `json:"dc"`
	Rack       string      `json:"rack"`
	Weight     float64     `json:"weight"`
	FullWeight float64     `json:"full_weight,omitempty"` // what it weighs when its disk is not low
	DiskFree   int64       `json:"disk_free,omitempty"`   // bytes; absent when it did not answer
	DiskStored int64       `json:"disk_stored,omitempty"` // bytes that it has there
	State      string      `json:"state"`                 // active, leaving, joining or removed
	Alive      string      `json:"alive"`                 // alive, suspect or dead, as the node sees it that was asked
	Partitions int         `json:"partitions"`
	To         int         `json:"to"`              // transfers to it that are not done
	From       int         `json:"from"`            // and from it
	Moves      *NodeMoving `json:"moves,omitempty"` // absent when it has nothing to do, or did not answer
}

// NodeMoving is how far a node is with the transfers that it drives.
type NodeMoving struct {
	Planned     int     `json:"planned"` // since the last plan, or since the node started
	Done        int     `json:"done"`
	Moving      int     `json:"moving"`
	Copied      int     `json:"copied"` // of those moving: only their last steps are left
	Keys        int64   `json:"keys"`   // of the other ones, as the next three
	AllKeys     int64   `json:"all_keys"`
	Bytes       int64   `json:"bytes"`
	AllBytes    int64   `json:"all_bytes"`
	Rate        float64 `json:"rate"`         // bytes a second
	SecondsLeft float64 `json:"seconds_left"` // 0 when it is not known
	Dropping    int     `json:"dropping"`     // partitions that have left and are still there
	Reason      string  `json:"reason,omitempty"`
}

// changeWithin bounds a change, which asks all members.
const changeWithin = 20 * time.Second

// clusterRoutes serves /v1/cluster.
func clusterRoutes(mux *http.ServeMux, o Operator) {
	answer := func(w http.ResponseWriter, body any, err error) {
		if err != nil {
			reply(w, http.StatusConflict, problem{err.Error()})
			return
		}
		reply(w, http.StatusOK, body)
	}
	handle := func(pattern string, f func(ctx context.Context, w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), changeWithin)
			defer cancel()
			f(ctx, w, r)
		})
	}
	handle("GET /v1/cluster", func(ctx context.Context, w http.ResponseWriter, _ *http.Request) {
		c, err := o.Cluster(ctx)
		answer(w, c, err)
	})
	handle("POST /v1/cluster/plan", func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		if c, ok := readChange(w, r); ok {
			p, err := o.Plan(ctx, c)
			answer(w, p, err)
		}
	})
	handle("POST /v1/cluster/commit", func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		if c, ok := readChange(w, r); ok {
			changed, err := o.Commit(ctx, c)
			answer(w, changed, err)
		}
	})
	handle("POST /v1/cluster/abort", func(ctx context.Context, w http.ResponseWriter, _ *http.Request) {
		changed, err := o.Abort(ctx)
		answer(w, changed, err)
	})
	for path, paused := range map[string]bool{"pause": true, "resume": false} {
		handle("POST /v1/cluster/"+path, func(ctx context.Context, w http.ResponseWriter, _ *http.Request) {
			changed, err := o.Pause(ctx, paused)
			answer(w, changed, err)
		})
	}
	handle("POST /v1/cluster/recover", func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		var body struct {
			Force bool `json:"force"`
		}
		if !readBody(w, r, &body) {
			return
		}
		if !body.Force {
			reply(w, http.StatusBadRequest, problem{NoForce})
			return
		}
		changed, err := o.Recover(ctx)
		answer(w, changed, err)
	})
}

// NoForce refuses to recover without being told twice.
const NoForce = "recover makes the members that this node reaches the whole cluster and removes all others with what only they have; if they are gone for good, say so with --force"

func readChange(w http.ResponseWriter, r *http.Request) (c Change, ok bool) {
	ok = readBody(w, r, &c)
	return c, ok
}

// readBody reads a request that may say nothing that is not known here.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		reply(w, http.StatusBadRequest, problem{"read the request: " + err.Error() + `; want {} or what the documentation of package admin lists`})
		return false
	}
	return true
}

// patient is the client with the time that a change may take.
func (c *Client) patient() *Client {
	p := *c
	p.http.Timeout = changeWithin + clientTimeout
	return &p
}

// Cluster asks GET /v1/cluster.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	var out Cluster
	return out, c.get(ctx, "/v1/cluster", &out)
}

// Plan asks POST /v1/cluster/plan.
func (c *Client) Plan(ctx context.Context, change Change) (Plan, error) {
	var out Plan
	return out, c.patient().post(ctx, "/v1/cluster/plan", change, &out)
}

// Commit asks POST /v1/cluster/commit.
func (c *Client) Commit(ctx context.Context, change Change) (Changed, error) {
	var out Changed
	return out, c.patient().post(ctx, "/v1/cluster/commit", change, &out)
}

// ChangeCluster asks POST /v1/cluster/WHAT for abort, pause, resume, and recover by force.
func (c *Client) ChangeCluster(ctx context.Context, what string) (Changed, error) {
	body := map[string]bool{}
	if what == "recover" {
		body["force"] = true
	}
	var out Changed
	return out, c.patient().post(ctx, "/v1/cluster/"+what, body, &out)
}
