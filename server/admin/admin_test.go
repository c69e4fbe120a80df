package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Source that says what it was told to.
type fake struct {
	ready   error
	healthy error
	refuse  error
	merged  []Node
	repairs []int
	backup  Backup
}

func (f *fake) Repair(partition int) (bool, error) {
	if partition > 3 {
		return false, errors.New("there is no partition 9")
	}
	f.repairs = append(f.repairs, partition)
	return len(f.repairs) < 3, nil
}
func (f *fake) StartBackup(dir string) error {
	if dir != "/new" {
		return errors.New("it is not empty")
	}
	f.backup = Backup{Known: true, Dir: dir, Epoch: 8}
	return nil
}
func (f *fake) LastBackup() Backup { return f.backup }
func (f *fake) Repaired() Repair   { return Repair{Known: true, Partitions: 4, Done: len(f.repairs)} }

// fakeOperator refuses what fails, and knows one plan.
type fakeOperator struct {
	fails error
	got   Change
	did   []string
}

func (f *fakeOperator) do(what string) (Changed, error) {
	f.did = append(f.did, what)
	return Changed{Epoch: 9, Changed: true, Transfers: 2}, f.fails
}
func (f *fakeOperator) Cluster(context.Context) (Cluster, error) {
	return Cluster{Epoch: 8, Members: []ClusterMember{{Name: "n1"}}}, f.fails
}
func (f *fakeOperator) Plan(_ context.Context, c Change) (Plan, error) {
	f.got = c
	return Plan{Epoch: 8, Changes: true, Moves: 3}, f.fails
}
func (f *fakeOperator) Commit(_ context.Context, c Change) (Changed, error) {
	f.got = c
	return f.do("commit")
}
func (f *fakeOperator) Abort(context.Context) (Changed, error) { return f.do("abort") }
func (f *fakeOperator) Pause(_ context.Context, paused bool) (Changed, error) {
	return f.do(fmt.Sprint("pause ", paused))
}
func (f *fakeOperator) Recover(context.Context) (Changed, error) { return f.do("recover") }

func (f *fake) Ready() error   { return f.ready }
func (f *fake) Healthy() error { return f.healthy }
func (f *fake) Nodes() NodeList {
	list := NodeList{Cluster: "c", ClusterID: "id", Self: "1", Ready: f.ready == nil, Epoch: 3, Partitions: 4,
		Nodes: []Node{{ID: "1", Name: "n1", Gossip: "a:1", State: "alive", Member: true, Heartbeat: time.Unix(1, 0).UTC(), Replicas: 4}}}
	list.Nodes = append(list.Nodes, f.merged...)
	return list
}
func (f *fake) Ring() Ring {
	return Ring{ClusterID: "id", Epoch: 3, Slots: 16384, Partitions: []Partition{{0, 0, 4095, []string{"1"}}}}
}
func (f *fake) Merge(_ context.Context, nodes []Node) error {
	f.merged = append(f.merged, nodes...)
	return f.refuse
}

func start(t *testing.T, source Source, samplers ...Sampler) string {
	t.Helper()
	s, err := New(Options{Listen: "127.0.0.1:0", Source: source, Repairer: &fake{}, Backer: &fake{}, Operator: &fakeOperator{}, Samplers: samplers,
		Hot: func(_ context.Context, top int) Hot {
			return Hot{Members: top, Keys: []HotKey{{Key: "user:7", Bytes: 6, Replicas: []string{"n1"}}}}
		}, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String()
}

// do sends one request and returns the status and the body.
func do(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestEndpoints(t *testing.T) {
	source := &fake{}
	addr := start(t, source, func(emit func(Sample)) {
		emit(Sample{Name: "kvstore_commands_total", Help: "h", Value: 7, Labels: []string{"command", "get"}})
		emit(Sample{Name: "kvstore_sync_seconds", Help: "h", Kind: Histogram, Count: 3, Sum: 1.5, Buckets: map[float64]uint64{0.5: 2}})
		emit(Sample{Name: "kvstore_clients", Help: "h", Kind: Gauge, Value: 2})
	})
	source.ready = errors.New("joining")
	big := `{"nodes": [{"name": "` + string(bytes.Repeat([]byte("x"), maxBodyBytes)) + `"}]}`
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string // part of the answer
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 503, "joining"},
		{"GET", "/metrics", "", 200, `kvstore_commands_total{command="get"} 7`},
		{"GET", "/metrics", "", 200, "# TYPE kvstore_clients gauge\nkvstore_clients 2"},
		{"GET", "/metrics", "", 200, `kvstore_sync_seconds_bucket{le="0.5"} 2`},
		{"GET", "/metrics", "", 200, "go_goroutines"},
		{"GET", "/v1/hot", "", 200, `"members": 20,`},
		{"GET", "/v1/hot?top=3", "", 200, `"members": 3,`},
		{"GET", "/v1/hot", "", 200, `"key": "user:7",`},
		{"GET", "/v1/hot?top=0", "", 400, `top \"0\" is not a number from 1 to 1000`},
		{"GET", "/v1/hot?top=1001", "", 400, "is not a number"},
		{"GET", "/v1/hot?top=x", "", 400, "is not a number"},
		{"GET", "/v1/nodes", "", 200, `"heartbeat": "1970-01-01T00:00:01Z"`},
		{"GET", "/v1/ring", "", 200, `"last_slot": 4095`},
		{"GET", "/debug/pprof/", "", 200, "goroutine"},
		{"GET", "/v2", "", 404, ""},
		{"DELETE", "/v1/nodes", "", 405, ""},
		{"POST", "/v1/nodes", "{", 400, "read the node list"},
		{"POST", "/v1/nodes", "{}", 400, "the node list is empty"},
		{"POST", "/v1/nodes", `{"nodes": [{"name": "x", "gossip": "nowhere"}]}`, 400, `gossip \"nowhere\" of node \"x\" is not HOST:PORT`},
		{"POST", "/v1/nodes", big, 413, "too large"},
		{"POST", "/v1/nodes", `{"nodes": [{"gossip": "b:2"}]}`, 200, `"gossip": "b:2"`},
		{"GET", "/v1/repair", "", 200, `"known": true`},
		{"POST", "/v1/repair", "{", 400, "read the request"},
		{"POST", "/v1/repair", `{"partition": 9}`, 409, "no partition 9"},
		{"POST", "/v1/repair", `{"partition": 3}`, 200, `"done": 1`},
		{"POST", "/v1/repair", "{}", 200, `"done": 2`},
		{"POST", "/v1/repair", "{}", 409, "under way"},
		{"GET", "/v1/backup", "", 200, `"known": false`},
		{"POST", "/v1/backup", `{"directory": "/new"}`, 400, "unknown field"},
		{"POST", "/v1/backup", `{"dir": "/old"}`, 409, "it is not empty"},
		{"POST", "/v1/backup", `{"dir": "/new"}`, 200, `"epoch": 8`},
		{"GET", "/v1/cluster", "", 200, `"name": "n1"`},
		{"POST", "/v1/cluster", "{}", 405, ""},
		{"POST", "/v1/cluster/plan", "", 400, "read the request: EOF"},
		{"POST", "/v1/cluster/plan", `{"decomission": ["n1"]}`, 400, `unknown field \"decomission\"`},
		{"POST", "/v1/cluster/plan", `{"weight": [{"node": "n1", "weight": "much"}]}`, 400, "read the request"},
		{"POST", "/v1/cluster/plan", `{}`, 200, `"moves": 3`},
		{"GET", "/v1/cluster/plan", "", 405, ""},
		{"POST", "/v1/cluster/commit", `{"epoch": 8}`, 200, `"transfers": 2`},
		{"POST", "/v1/cluster/abort", "", 200, `"changed": true`},
		{"POST", "/v1/cluster/pause", "", 200, `"changed": true`},
		{"POST", "/v1/cluster/recover", "{}", 400, "if they are gone for good, say so with --force"},
		{"POST", "/v1/cluster/recover", `{"force": true}`, 200, `"changed": true`},
	} {
		status, body := do(t, tc.method, "http://"+addr+tc.path, tc.body)
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s: %d %.300s; want %d with %s", tc.method, tc.path, status, body, tc.status, tc.want)
		}
	}
	source.refuse = errors.New("another cluster")
	if status, body := do(t, "POST", "http://"+addr+"/v1/nodes", `{"nodes": [{"gossip": "b:2"}]}`); status != 409 || !strings.Contains(body, "another cluster") {
		t.Errorf("a refused merge: %d %s", status, body)
	}
}

func TestBrowserMayNotPost(t *testing.T) {
	source := &fake{}
	addr := start(t, source)
	status, _ := do(t, "POST", "http://"+addr+"/v1/nodes", `{"nodes": [{"gossip": "b:2"}]}`, "Origin", "https://example.org")
	if status != http.StatusForbidden || source.merged != nil {
		t.Errorf("status %d, merged %v", status, source.merged)
	}
}

func TestClient(t *testing.T) {
	source := &fake{}
	addr := start(t, source)
	client := NewClient(addr)
	nodes, err := client.Nodes(t.Context())
	if err != nil || !reflect.DeepEqual(nodes, source.Nodes()) {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	ring, err := client.Ring(t.Context())
	if err != nil || ring.Partitions[0].LastSlot != 4095 {
		t.Errorf("ring %+v, %v", ring, err)
	}
}

func TestOperatorIsAsked(t *testing.T) {
	o := &fakeOperator{}
	s, err := New(Options{Listen: "127.0.0.1:0", Source: &fake{}, Operator: o, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	client := NewClient(s.Addr().String())
	want := Change{Epoch: 8, Commit: true, Decommission: []string{"n1"}, Remove: []string{"n2"}, Lose: true,
		Replace: []Replacement{{"n3", "n4"}}, Weight: []NodeWeight{{"n5", 2.5}}}
	for name, ask := range map[string]func() error{
		"plan":   func() error { _, err := client.Plan(t.Context(), want); return err },
		"commit": func() error { _, err := client.Commit(t.Context(), want); return err },
	} {
		if err := ask(); err != nil || !reflect.DeepEqual(o.got, want) {
			t.Errorf("%s: %v, got %+v", name, err, o.got)
		}
	}
	for _, what := range []string{"abort", "pause", "resume", "recover"} {
		if _, err := client.ChangeCluster(t.Context(), what); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(o.did, ", "), "commit, abort, pause true, pause false, recover"; got != want {
		t.Errorf("it did %s, want %s", got, want)
	}
	o.fails = errors.New("the plan is stale")
	if _, err := client.Commit(t.Context(), want); err == nil || err.Error() != "the plan is stale" || !IsRefusal(err) {
		t.Errorf("refused with %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	addr := start(t, &fake{})
	if _, err := New(Options{Listen: addr, Source: &fake{}}); err == nil {
		t.Error("listened twice on one address")
	}
}
