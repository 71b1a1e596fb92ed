package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"parley/cluster/transport"
)

const (
	// examTimeout bounds what one node's examination may take.
	examTimeout = 15 * time.Second
	// syncRounds is how many writes the disk is measured by.
	syncRounds = 9
)

// Exam is what a node finds when it looks at itself and its surroundings. Unlike its view of the replicas it costs something: a few
// writes, and a call to every node.
type Exam struct {
	DiskFree      uint64 // bytes; 0 where the file system does not tell
	DiskReserve   uint64
	SyncMedian    time.Duration // of a small durable write
	SyncLongest   time.Duration
	DiskFault     string            // why the disk could not be looked at
	FilesMax      uint64            // that the process may have open; 0 where the system does not tell
	SealOpens     bool              // the hub's keys can be opened
	CertEnds      time.Time         // when the node's certificate for the cluster port ends
	Gossip        []string          // nodes that its gossip believes to be up
	Unreachable   map[string]string // nodes that it cannot call, and why
	MetaSilence   time.Duration     // since it heard of the meta group's leader
	Beside        json.RawMessage   // what ReportExam's function says; null where there is none
	HeldDamaged   int
	SetAside      []string // engines that were set aside for damage
	ClusterListen string   // where other nodes are told to reach it
}

// ReportExam has a function asked, too, whenever this node is examined: what it says reaches whoever asked as it is.
func (n *Node) ReportExam(ask func(context.Context) (json.RawMessage, error)) { n.beside.Store(&ask) }

// Exams has every node examine itself. Who does not answer is among the failed.
func (n *Node) Exams(ctx context.Context) (exams map[string]Exam, failed map[string]error, err error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	exams, failed = askAllWithin(ctx, examTimeout, n, methodExam, nil, n.serveExam, func(raw []byte) (e Exam, err error) {
		return e, json.Unmarshal(raw, &e)
	})
	return exams, failed, nil
}

var _ transport.Handler = (*Node)(nil).serveExam

func (n *Node) serveExam(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	e := Exam{
		DiskReserve: n.config.diskReserve(), CertEnds: n.CertificateEnds(), MetaSilence: n.MetaSilence(),
		HeldDamaged: n.held.status().Damaged, ClusterListen: n.advertise, Unreachable: n.unreachable(ctx),
	}
	e.lookAtDisk(n)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		e.FilesMax = limit.Cur
	}
	if keys := n.HubKeys(); len(keys) > 0 {
		_, _, e.SealOpens = n.HubSigner(keys[0].Scheme)
	}
	for _, member := range n.gossip.Members() {
		e.Gossip = append(e.Gossip, member.NodeID)
	}
	if ask := n.beside.Load(); ask != nil {
		said, err := (*ask)(ctx)
		if err != nil {
			return nil, err
		}
		e.Beside = said
	}
	return json.Marshal(e)
}

func (e *Exam) lookAtDisk(n *Node) {
	if free, err := n.stores.dir.FreeBytes(); err == nil {
		e.DiskFree = free
	}
	took, err := n.stores.dir.MeasureSync(syncRounds)
	if err != nil {
		e.DiskFault = err.Error()
		return
	}
	e.SyncMedian, e.SyncLongest = took[len(took)/2], took[len(took)-1]
	if e.SetAside, err = n.stores.dir.DamagedEngines(); err != nil {
		e.DiskFault = err.Error()
	}
}

// DiskFree is what an unprivileged process can still write to the disk of the data directory.
func (n *Node) DiskFree() (uint64, error) { return n.stores.dir.FreeBytes() }

// CertificateEnds is when the node's certificate for the cluster port does.
func (n *Node) CertificateEnds() time.Time { return n.credentials.Load().NotAfter() }

// unreachable calls every other node by the cheapest method there is.
func (n *Node) unreachable(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	faults := make(map[string]string)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, id := range activeNodes(n.Map()) {
		if id == n.id {
			continue
		}
		wait.Go(func() {
			if _, err := n.askClock(ctx, id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				faults[id] = err.Error()
			}
		})
	}
	wait.Wait()
	return faults
}
