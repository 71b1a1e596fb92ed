package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	randv2 "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
	"parley/ops/backup"
)

const (
	// The sizes of the cluster that is backed up.
	packagesEnv = "PARLEY_BACKUP_KEYPACKAGES"
	messagesEnv = "PARLEY_BACKUP_MESSAGES"
	packages    = 20_000
	messages    = 4_000

	packagesEach = 100 // of each user
	packageBytes = 350
	messagesEach = 20 // of a room in one command
	messageBytes = 1024
	benchRooms   = 200
	benchWorkers = 32
)

// BenchmarkBackup fills a node with KeyPackages and messages, backs it up while more is written, and once more, and brings the first backup
// into a new cluster of other shards, whose every slot is held against its digest before it is served. It reports how fast that went and
// what memory the process had, which holds the whole of one cluster at a time.
func BenchmarkBackup(b *testing.B) {
	for range b.N {
		was := newCluster(b, "lost")
		was.begin(1, 6, nil)
		load := newBenchLoad(b, was)
		load.fill(benchNumber(b, packagesEnv, packages), benchNumber(b, messagesEnv, messages))
		location := "file://" + b.TempDir()
		stop := load.goOn()
		peak := watchMemory()
		report := was.measured(b, "backup", cluster.BackupSpec{ID: "b1", Location: location, Node: "n1"})
		b.ReportMetric(float64(peak())/(1<<20), "MiB-backing-up")
		was.measured(b, "again", cluster.BackupSpec{ID: "b2", Location: location, Node: "n1"})
		stop()
		was.stopAll()
		b.Logf("%v, %d records of %d MiB in %d chunks of %d MiB", report.Counts, report.Records, report.Bytes>>20, report.Chunks, report.Stored>>20)
		began := time.Now()
		options := restoredFrom(b, cluster.BackupSpec{ID: "b1", Location: location}, "n1")
		b.ReportMetric(time.Since(began).Seconds(), "s-verify")
		is := newCluster(b, "lost")
		peak = watchMemory()
		began = time.Now()
		is.begin(1, 4, options)
		is.awaitRestored()
		took := time.Since(began)
		b.ReportMetric(took.Seconds(), "s-restore")
		b.ReportMetric(float64(report.Bytes)/(1<<20)/took.Seconds(), "MiB/s-restore")
		b.ReportMetric(float64(peak())/(1<<20), "MiB-restoring")
		if again := is.backUp(cluster.BackupSpec{ID: "b3", Location: location, Node: "n1"}); again.Counts["rooms"] != report.Counts["rooms"] ||
			again.Counts["users"] != report.Counts["users"] || again.Counts["messages"] != report.Counts["messages"] {
			b.Errorf("restored %v of %v", again.Counts, report.Counts)
		}
		is.stopAll()
	}
	b.ReportMetric(0, "ns/op")
}

func benchNumber(b *testing.B, name string, standard int) int {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// measured makes a backup and reports how long it took.
func (c *clusterUnderTest) measured(b *testing.B, name string, spec cluster.BackupSpec) backup.Report {
	b.Helper()
	began := time.Now()
	if job := c.awaitJob(c.startBackup(spec)); job.State != meta.JobDone {
		b.Fatalf("the backup is %s: %s", job.State, job.Error)
	} else {
		b.Log(job.Text)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-"+name)
	return mustBeWhole(b, spec)
}

// watchMemory returns what the process has had at most since, resident.
func watchMemory() (peak func() int64) {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // where it cannot be reset, the peak is that of the whole run
	return func() int64 {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return 0
		}
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		var kib int64
		if _, err := fmt.Sscan(after, &kib); err != nil {
			return 0
		}
		return kib << 10
	}
}

// benchLoad writes to a cluster of one node.
type benchLoad struct {
	b     *testing.B
	c     *clusterUnderTest
	node  *cluster.Node
	rooms []*fsmtest.Room
	made  atomic.Uint64
}

func newBenchLoad(b *testing.B, c *clusterUnderTest) *benchLoad {
	b.Helper()
	l := &benchLoad{b: b, c: c, node: c.node()}
	peer, err := mimi.ParseProvider("b.example")
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchRooms {
		uri, err := mimi.ParseRoomURI(fmt.Sprintf("mimi://a.example/r/room%d", i))
		if err != nil {
			b.Fatal(err)
		}
		r := fsmtest.NewRoom(uri, 0, []mimi.UserURI{user(b, "alice")}, []mimi.Provider{peer})
		mustPropose(b, testContext(b), l.node, r.Create())
		l.rooms = append(l.rooms, r)
	}
	return l
}

// fill writes so much, by several at once.
func (l *benchLoad) fill(packages, messages int) {
	l.b.Helper()
	began := time.Now()
	l.each(packages/packagesEach, l.upload)
	l.each(messages/messagesEach, func(n int, content *randv2.ChaCha8) { l.submit(l.rooms[n%benchRooms], content) })
	l.b.Logf("filled in %s", time.Since(began).Round(time.Second))
}

func (l *benchLoad) each(count int, do func(n int, content *randv2.ChaCha8)) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for worker := range benchWorkers {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker), byte(count)})
			for n := int(next.Add(1) - 1); n < count; n = int(next.Add(1) - 1) {
				do(n, content)
			}
		})
	}
	wait.Wait()
}

func (l *benchLoad) propose(command fsm.Command) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, _, err := l.node.Propose(ctx, command)
		cancel()
		if err == nil {
			return
		}
	}
}

func (l *benchLoad) upload(n int, content *randv2.ChaCha8) {
	c := upload(l.b, n, 0)
	now := uint64(time.Now().Unix())
	for range packagesEach {
		message, ref := make([]byte, packageBytes), make([]byte, 32)
		content.Read(message) // never fails
		content.Read(ref)
		c.Packages = append(c.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(ref), Suite: 1, NotBefore: now - 3600, NotAfter: now + 60*86400, Message: message,
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
			Credentials: []mls.CredentialType{mls.CredentialBasic},
		})
	}
	l.propose(c)
}

func (l *benchLoad) submit(r *fsmtest.Room, content *randv2.ChaCha8) {
	batch := fsm.SubmitBatch{Room: r.URI}
	for range messagesEach {
		text := make([]byte, messageBytes)
		content.Read(text) // never fails
		binary.BigEndian.PutUint64(text, l.made.Add(1))
		m := r.Message(string(text), 0, user(l.b, "alice"))
		batch.Messages = append(batch.Messages, fsm.BatchMessage{
			GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: sha256.Sum256(m.Message), Message: m.Message,
		})
	}
	l.propose(batch)
}

// goOn writes on until stop is called.
func (l *benchLoad) goOn() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker), 255})
			for n := worker; ctx.Err() == nil; n += 4 {
				l.submit(l.rooms[n%benchRooms], content)
			}
		})
	}
	return func() { cancel(); wait.Wait() }
}
