package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

const (
	// inventoryEnv says how many KeyPackages the node holds.
	inventoryEnv        = "PARLEY_KEYPACKAGES"
	inventoryPackages   = 100_000
	inventorySmall      = 10_000 // beside which it is measured
	inventoryEach       = 100    // of each user, all of one client
	inventoryBytes      = 350    // of a KeyPackage, as good as random
	inventoryUploaders  = 64
	inventoryClaims     = 1000
	inventoryUsersAsked = 200 // that the claims go round
)

// BenchmarkInventory fills a node with KeyPackages, starts it again, and claims some, by turns with claims of a node that has few. Each
// node is a cluster of its own, on real files. What it reports: the memory of this process while it has the one node alone, the time
// from the start until a claim of each shard is answered, and what a claim takes.
func BenchmarkInventory(b *testing.B) {
	for range b.N {
		large := newInventory(b, int(numberFrom(b, inventoryEnv, inventoryPackages)))
		resetPeakRSS(b)
		began := time.Now()
		large.fill()
		filled := time.Since(began)
		b.Logf("%d KeyPackages in %s, %.0f a second; peak RSS %d MiB", large.packages, filled.Round(time.Second),
			float64(large.packages)/filled.Seconds(), memoryField(b, "VmHWM")>>20)
		b.ReportMetric(float64(memoryField(b, "VmHWM")>>20), "MiB-filling")
		runtime.GC()
		resetPeakRSS(b)
		ready := large.restart()
		b.ReportMetric(ready.Seconds(), "s-to-ready")
		alone := large.claims(inventoryClaims)
		b.ReportMetric(float64(memoryField(b, "VmHWM")>>20), "MiB-serving")
		b.Logf("ready %s after the start; the first claims took %s and then %s in the median; peak RSS %d MiB", ready.Round(time.Millisecond),
			alone[0], median(alone), memoryField(b, "VmHWM")>>20)
		small := newInventory(b, inventorySmall)
		small.fill()
		few, many := compareInventories(small, large)
		b.ReportMetric(median(few).Seconds()*1000, "ms-few")
		b.ReportMetric(median(many).Seconds()*1000, "ms-many")
		b.ReportMetric(float64(median(many))/float64(median(few)), "many/few")
		b.Logf("a claim among %d: median %s, p99 %s; among %d: median %s, p99 %s", small.packages, median(few), quantile(few, 0.99),
			large.packages, median(many), quantile(many, 0.99))
		small.c.stopAll()
		large.c.stopAll()
	}
	b.ReportMetric(0, "ns/op")
}

// inventory is a node with KeyPackages. Its methods are called by one goroutine.
type inventory struct {
	b        *testing.B
	c        *testCluster
	node     *Node
	packages int
	key      *mls.SigningKey // of who claims
	asked    int
}

func newInventory(b *testing.B, packages int) *inventory {
	i := &inventory{b: b, packages: packages}
	i.c = newTestCluster(b, func(config *Config) { config.Log = slog.New(slog.DiscardHandler) })
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	i.node = i.c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(b, "a.example")), Shards: 6, Replication: 1}
	options.Settings.Claims.ConsentDefault = fsm.ConsentAllow
	options.Settings.Claims.PerPairMax, options.Settings.Claims.PerRoomMax = 0, 0 // one requester claims all
	if err := i.node.Init(ctx, options); err != nil {
		b.Fatal(err)
	}
	i.c.awaitActive(options.Shards)
	i.c.awaitSettings()
	var err error
	if i.key, err = mls.GenerateSigningKey(mls.Ed25519, rand.Reader); err != nil {
		b.Fatal(err)
	}
	return i
}

func (i *inventory) users() int { return max(i.packages/inventoryEach, 1) }

func (i *inventory) owner(n int) mimi.UserURI { return user(i.b, fmt.Sprintf("owner%d", n)) }

// fill uploads, as many clients at once would.
func (i *inventory) fill() {
	var next atomic.Int64
	var wait sync.WaitGroup
	for worker := range inventoryUploaders {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker)})
			for n := int(next.Add(1) - 1); n < i.users(); n = int(next.Add(1) - 1) {
				if err := i.upload(n, content); err != nil {
					i.b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if i.b.Failed() {
		i.b.FailNow()
	}
}

func (i *inventory) upload(n int, content *randv2.ChaCha8) error {
	client, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/owner%d/1", n))
	if err != nil {
		return err
	}
	now := uint64(time.Now().Unix())
	c := fsm.UploadKeyPackages{User: i.owner(n), Client: client}
	for k := range inventoryEach {
		message := make([]byte, inventoryBytes)
		content.Read(message) // never fails
		ref := make([]byte, 32)
		content.Read(ref)
		binary.BigEndian.PutUint64(ref, uint64(n*inventoryEach+k))
		c.Packages = append(c.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(ref), Suite: 1, NotBefore: now - 3600, NotAfter: now + 60*86400, Message: message,
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
			Credentials: []mls.CredentialType{mls.CredentialBasic},
		})
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		outcome, _, err := i.node.Propose(ctx, c)
		cancel()
		if told, yes := outcome.(fsm.Uploaded); err == nil && yes && told.Stored+told.Known == inventoryEach {
			return nil
		} else if err == nil {
			return fmt.Errorf("an upload got %#v", outcome)
		}
	}
}

// restart closes the node and opens it again; it returns how long it takes until every shard has answered a claim.
func (i *inventory) restart() time.Duration {
	i.b.Helper()
	i.c.stop("n1")
	began := time.Now()
	i.node = i.c.start("n1")
	waiting := make(map[fsm.ShardID]bool)
	for _, shard := range i.node.Map().Shards() {
		waiting[shard.ID] = true
	}
	for n := 0; len(waiting) > 0; n++ {
		shard, found := i.node.Map().ShardOfSlot(fsm.SlotOfUser(i.owner(n)))
		if found && !waiting[shard.ID] {
			continue
		}
		i.claim(n)
		delete(waiting, shard.ID)
	}
	return time.Since(began)
}

// claims asks so many users' clients in turn, spread over all, and tells what each took.
func (i *inventory) claims(count int) (took []time.Duration) {
	for range count {
		took = append(took, i.claim((i.asked%inventoryUsersAsked)*max(i.users()/inventoryUsersAsked, 1)))
		i.asked++
	}
	return took
}

// claim takes a KeyPackage of a user, through judge and log, and tells how long that takes.
func (i *inventory) claim(n int) time.Duration {
	target := i.owner(n % i.users())
	request, err := mimi.KeyMaterialRequest{
		RequestingUser: user(i.b, "claimer"), TargetUser: target, Suites: []mls.CipherSuite{1},
		Credential: mls.BasicCredential{Identity: []byte("mimi://a.example/u/claimer")},
	}.Signed(i.key)
	if err != nil {
		i.b.Fatal(err)
	}
	claim, err := judge.NewClaim(target.Provider(), target, request.Marshal(), rand.Text())
	if err != nil {
		i.b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	outcome, err := i.node.Do(ctx, claim)
	took := time.Since(began)
	if claimed, yes := outcome.(fsm.Claimed); err != nil || !yes || claimed.Code != mimi.KeyMaterialSuccess {
		i.b.Fatalf("a claim of %s got %#v, %v", target, outcome, err)
	}
	return took
}

// compareInventories claims by turns, so that whatever else the machine does slows both down.
func compareInventories(small, large *inventory) (few, many []time.Duration) {
	for range inventoryClaims {
		few = append(few, small.claims(1)...)
		many = append(many, large.claims(1)...)
	}
	return few, many
}

func median(all []time.Duration) time.Duration { return quantile(all, 0.5) }

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
