package cluster

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
	"parley/storage"
)

const (
	// claimCostEnv says how many KeyPackages the larger of the two inventories holds.
	claimCostEnv      = "PARLEY_CLAIMCOST_KEYPACKAGES"
	claimCostSmall    = 10_000
	claimCostLarge    = 200_000
	claimCostClients  = 5
	claimCostEach     = 200 // of a client
	claimCostBytes    = 600 // of a KeyPackage
	claimCostNow      = 1_900_000_000_000
	claimCostLifetime = 60 * 24 * 60 * 60
)

// BenchmarkClaims claims from users of five clients with 200 KeyPackages each, on the state engine as a node has it: what a claim costs
// behind the log. It is to cost the same whether there are ten thousand KeyPackages or ten million. "unfit" claims a suite of which each
// client has only its last KeyPackage, "incapable" what none of them can do; "churn" claims from one user whose clients upload as much as is taken, so that what stands in
// front of their KeyPackages is what was deleted.
func BenchmarkClaims(b *testing.B) {
	large := claimCostLarge
	if text := os.Getenv(claimCostEnv); text != "" {
		var err error
		if large, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, packages := range []int{claimCostSmall, large} {
		users := packages / (claimCostClients * claimCostEach)
		b.Run(fmt.Sprint("packages=", packages), func(b *testing.B) {
			s := newClaimCost(b, users, 1)
			s.run(b, users, 1)
		})
	}
	b.Run("unfit", func(b *testing.B) {
		s := newClaimCost(b, 10, 2)
		s.run(b, 10, 1)
	})
	b.Run("incapable", func(b *testing.B) {
		s := newClaimCost(b, 10, 1)
		s.needs = 99
		s.run(b, 10, 1)
	})
	b.Run("churn", func(b *testing.B) {
		s := newClaimCost(b, 1, 1)
		s.run(b, 1, 1)
	})
}

// claimCost is a shard's state with inventories in it.
type claimCost struct {
	tb     testing.TB
	engine *storage.StateEngine
	group  *storage.GroupState
	index  uint64
	random *rand.ChaCha8
	made   uint64
	needs  mls.ProposalType // of claims
}

// newClaimCost fills users' inventories with KeyPackages of a suite. Where that is not suite 1, the last of each client is.
func newClaimCost(tb testing.TB, users int, suite mls.CipherSuite) *claimCost {
	engine, err := storage.OpenState(tb.TempDir(), storage.StateOptions{OnFatal: func(err error) { panic(err) }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := engine.Close(); err != nil {
			tb.Error(err)
		}
	})
	s := &claimCost{needs: 8, tb: tb, engine: engine, group: engine.Group(1), random: rand.NewChaCha8([32]byte{1})}
	settings := fsm.DefaultSettings(provider(tb, "a.example"))
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow}
	s.apply(fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: settings})
	for u := range users {
		for c := range claimCostClients {
			s.upload(u, c, claimCostEach-1, suite)
			s.upload(u, c, 1, 1)
		}
	}
	return s
}

func (s *claimCost) user(n int) mimi.UserURI { return user(s.tb, fmt.Sprint("user", n)) }

func (s *claimCost) apply(commands ...fsm.Command) []fsm.Outcome {
	s.index++
	batch := s.group.NewBatch()
	result, err := fsm.Apply(batch, s.index, fsm.EncodeEntry(fsm.Entry{StampMillis: claimCostNow, Commands: commands}))
	if err == nil {
		err = batch.SetApplied(s.index)
	}
	if err == nil {
		err = batch.Commit()
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := batch.Close(); err != nil {
		s.tb.Fatal(err)
	}
	return result.Outcomes
}

func (s *claimCost) upload(u, c, n int, suite mls.CipherSuite) {
	client, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/user%d-%d", u, c))
	if err != nil {
		s.tb.Fatal(err)
	}
	upload := fsm.UploadKeyPackages{User: s.user(u), Client: client}
	for range n {
		message := make([]byte, claimCostBytes)
		s.random.Read(message)
		s.made++
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(message[:32]), Suite: suite, NotBefore: claimCostNow/1000 - 10, NotAfter: claimCostNow/1000 + claimCostLifetime + s.made%1000,
			Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8, 10}, Credentials: []mls.CredentialType{1}, Message: message,
		})
	}
	if stored := s.apply(upload)[0].(fsm.Uploaded); int(stored.Stored) != n {
		s.tb.Fatalf("of %d KeyPackages %+v", n, stored)
	}
}

// run claims from one user after the other, at random, and puts back in between what was taken.
func (s *claimCost) run(b *testing.B, users int, suite mls.CipherSuite) {
	random := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	for b.Loop() {
		u := random.IntN(users)
		claim := fsm.ClaimKeyPackages{
			User: s.user(u), Requester: user(b, "requester"), Provider: provider(b, "b.example"), Suites: []mls.CipherSuite{suite},
			Proposals: []mls.ProposalType{s.needs}, ReplayMillis: 60_000,
		}
		binary.BigEndian.PutUint64(claim.ReplayKey[:], s.index)
		begun := time.Now()
		claimed := s.apply(claim)[0].(fsm.Claimed)
		took = append(took, time.Since(begun))
		if claimed.Code == mimi.KeyMaterialNoCompatibleMaterial && s.needs == 99 {
			continue
		}
		if claimed.Code != mimi.KeyMaterialSuccess {
			b.Fatalf("claim %d got %s", len(took), claimed.Code)
		}
		b.StopTimer()
		for c := range claimCostClients {
			s.upload(u, c, 1, suite)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
