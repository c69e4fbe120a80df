// Command goredis speaks to kvstore through go-redis: the scenario that the package
// comment of tests/compat describes, and a workload for nodes that die. It is a
// module of its own, so that the client is no dependency of kvstore.
//
//	goredis scenario single|cluster PREFIX ADDRESS...
//	goredis workload FILE ADDRESS...       writes until standard input ends
//	goredis verify FILE ADDRESS...         reads what the workload wrote
//	goredis moving PREFIX ADDRESS...       writes until standard input ends, and reads it all
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	if len(os.Args) < 4 {
		fail("too few arguments")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	switch os.Args[1] {
	case "scenario":
		s := &scenario{ctx: ctx, prefix: os.Args[3] + ":", client: connect(os.Args[2] == "cluster", os.Args[4:])}
		s.run()
		s.client.Close()
	case "workload":
		workload(ctx, os.Args[2], connect(true, os.Args[3:]))
	case "verify":
		verify(ctx, os.Args[2], connect(true, os.Args[3:]))
	case "moving":
		runMoving(ctx, connect(true, os.Args[3:]), os.Args[2]+":")
	default:
		fail("unknown: %s", os.Args[1])
	}
	fmt.Println("passed")
}

// reload is how often the cluster client asks for the slots anew. It asks at once
// when it is told MOVED, but a node that is dead tells it nothing; its default is a
// minute.
const reload = 500 * time.Millisecond

func connect(cluster bool, addresses []string) redis.UniversalClient {
	if cluster {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses, Protocol: 3, ClusterStateReloadInterval: reload, ReadTimeout: 20 * time.Second})
	}
	return redis.NewClient(&redis.Options{Addr: addresses[0], Protocol: 3})
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "goredis: "+format+"\n", args...)
	os.Exit(1)
}
