package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"kvstore/config"
)

// details is what the help of a command says beyond its summary.
func details(name string) string {
	switch name {
	case "server":
		return `Runs one node until SIGTERM or SIGINT, which answer what is running and then
stop; a second one stops at once. Without --config (or KVSTORE_CONFIG) it reads
kvstore.toml in the working directory, if there is one.
`
	case "demo":
		return `Runs real nodes as processes of their own until Ctrl-C.
  --nodes N    how many (default 3, at most 16)
  --port P     of the first node (default 7001); the others follow, gossip is at
               +10000, RPC at +11000, admin at +12000; 0 takes free ports
  --dir DIR    keeps the data there and comes back with it; else the data is in
               a temporary directory and removed at the end
Settings (--section.key=value) go to every node.
`
	case "status":
		return `Asks the node whose admin.listen is in the configuration, or given as
--admin.listen=HOST:PORT.
  --level   prints one line, and exits with 1 while a node is away, or the node
            that was asked lacks what others have: wait for it between two
            restarts
  --hot     the keys and partitions that clients ask for most at present, over
            all members
  --top N   so many of each (default 10)
  --json    prints the answer for programs
`
	case "ring":
		return `Asks the node whose admin.listen is in the configuration, or given as
--admin.listen=HOST:PORT. --json prints the answer for programs.
`
	case "cluster":
		return `Through any node: the one whose admin.listen is in the configuration, or given
as --admin.listen=HOST:PORT. NODE is a name or an id.
  status              members, and how far what moves between them is; --watch
                      goes on showing it until nothing moves
  plan                what a commit of the nodes that are joining would do; with
                      --decommission NODE, --remove NODE [--lose],
                      --replace OLD=NEW, --weight NODE=W, --replication N|DC=N,...
                      what these would do, together, and with --joining also of
                      the nodes that are joining. Nothing moves
  commit              does what plan shows, with the same flags; --epoch E is
                      refused if something else was planned since that plan
  abort               gives up what is planned and what copies; what has switched
                      ends. Nodes that hold nothing yet are joining again
  decommission NODE   moves away what the node holds; then it leaves and stops
  remove NODE         says that a dead node never comes back: others get what it
                      held. --lose: also what nobody else has, which begins empty
  replace OLD NEW     gives OLD's partitions to NEW, which has joined
  weight NODE W       changes a node's share relative to others; 0 holds nothing
  replication N       changes the number of replicas, or with DC=N,DC=N,... that
                      of each data centre; others hold nothing then
  move-pause          nothing more begins to move, and copying rests
  move-resume         goes on
  recover --force     the majority is gone for good: the nodes that this one
                      reaches become the whole cluster, all others are removed
What moves data prints its plan first and asks; --yes answers.
--json prints the answer for programs.
`
	case "backup":
		return `Asks the node whose admin.listen is in the configuration, or given as
--admin.listen=HOST:PORT, for a checkpoint of all it holds, while it serves. DIR
is on the node's machine: a whole path, new or empty. On the disk of storage.dir
it takes next to no room at first, and shares the disk's fate: copy it elsewhere.
It says the ring's epoch and hash, which are the same at all nodes of backups that
make a cluster together. --json prints the answer for programs.
`
	case "restore":
		return `Copies a backup to storage.dir, which is new or empty, and verifies every file.
Without --all the node goes back to its cluster, which lives and brings it level.
  --all=WORD     every node of the cluster is restored, and none lives: a new life
                 of it, in which all have what their backups have. WORD is any word,
                 the same for all of them, and another one each time
  --ring=BACKUP  for --all, when the backups are of different rings: the backup of
                 another node that has the newest one
storage.dir and cluster.name are those of the configuration (--config FILE, or
--storage.dir=DIR and --cluster.name=NAME).
`
	case "storage":
		return `  check [DIR]         verifies every byte of a directory and names what is damaged;
                      exits with 1 if anything is
  repair [DIR]        makes a damaged directory usable again and says what it
                      dropped; nothing is removed, damaged files move to
                      DIR/quarantine. Reads of what was lost are answered by the
                      other replicas until they have refilled it.
    --forget-lost     for a node without replicas: what is left counts
  inspect [FILE|DIR]  prints a table, a log, a manifest or a directory's tables
    --keys            every record's key
    --blocks          every block of a table
Without DIR it is storage.dir of the configuration (--config FILE, or
--storage.dir=DIR). A node that runs on the directory must be stopped for check
and repair.
`
	case "config":
		return `Prints every key with its value and where it was set. Exits with 1 and one
line for each mistake if there is any.
`
	}
	return ""
}

func runHelp(s *shell, args []string) error {
	if len(args) > 1 {
		return usageError("help: one command at a time")
	}
	if len(args) == 1 {
		return helpOn(s.stdout, args[0])
	}
	fmt.Fprint(s.stdout, "kvstore: a leaderless key-value store that speaks the Redis protocol\n\nusage: kvstore COMMAND [flags]\n\n")
	table := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(table, "  %s\t%s\n", c.name, c.summary)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.stdout, "\nkvstore help COMMAND says more; kvstore help config lists every configuration key.\n")
	return err
}

func helpOn(out io.Writer, name string) error {
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		fmt.Fprintf(out, "kvstore %s: %s\n\nusage: kvstore %s %s\n", c.name, c.summary, c.name, c.usage)
		if text := details(name); text != "" {
			fmt.Fprint(out, "\n", text)
		}
		if name == "config" {
			fmt.Fprint(out, "\nEvery key, with its default:\n\n", config.Example())
		}
		return nil
	}
	return usageError(fmt.Sprintf("help: there is no command %q", name))
}
