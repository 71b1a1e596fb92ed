package cluster

import (
	"context"
	"time"

	"parley/fsm"
	"parley/mls"
)

// appointRequest is what one node tells another of all shards that it leads.
//
//	struct {
//	    uint32 shard;
//	    uint8 asks;     // whether it is a question alone, and appoints for nothing nor ends anything
//	    uint64 term;
//	    uint64 floor;   // an index that the replica has to have applied before it sends anything
//	    uint64 lots;    // the least bit is lot 0
//	} ShardAppointment;
//
//	struct {
//	    uint8 version = 1;
//	    uint64 round;      // of two calls of one term the later has the greater one
//	    uint64 life;       // the clock on which the appointment begins at base; 0 where the receiver's is not known: nothing is appointed
//	    uint64 base_nanos;
//	    uint32 lasts_millis;
//	    ShardAppointment shards<V>;
//	} AppointRequest;
type appointRequest struct {
	round  uint64
	life   uint64
	base   time.Duration
	shards []shardAppointment
}

type shardAppointment struct {
	shard fsm.ShardID
	asks  bool
	term  uint64
	floor uint64
	lots  lots
}

// lotsOf are the lots of a shard that the request appoints for, in a term.
func (q *appointRequest) lotsOf(shard fsm.ShardID, term uint64) lots {
	for _, s := range q.shards {
		if s.shard == shard && s.term == term {
			return s.lots
		}
	}
	return allLots // it says nothing of that term, and frees nothing
}

// appointAnswer says what the receiver's clock shows and how its replicas stand. A shard of which no replica runs there is left out.
//
//	struct {
//	    uint32 shard;
//	    uint8 taken;
//	    uint64 applied;
//	    uint64 lots;    // for which it is appointed, by whomever
//	} ShardStanding;
//
//	struct { uint64 life; uint64 shows_nanos; ShardStanding shards<V>; } AppointAnswer;
type appointAnswer struct {
	life      uint64
	shows     time.Duration
	standings []shardStanding
}

type shardStanding struct {
	shard   fsm.ShardID
	taken   bool
	applied uint64
	lots    lots
}

// appoint calls a node.
func (n *Node) appoint(ctx context.Context, node string, q appointRequest) (appointAnswer, error) {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint64(q.round)
	w.Uint64(q.life)
	w.Uint64(uint64(q.base))
	w.Uint32(uint32(appointmentLasts.Milliseconds()))
	w.Vector(func(w *mls.Writer) {
		for _, s := range q.shards {
			w.Uint32(uint32(s.shard))
			w.Bool(s.asks)
			w.Uint64(s.term)
			w.Uint64(s.floor)
			w.Uint64(uint64(s.lots))
		}
	})
	raw, _, err := n.call(ctx, node, methodAppoint, w.Bytes())
	if err != nil {
		return appointAnswer{}, err
	}
	r := mls.NewReader("AppointAnswer", raw)
	a := appointAnswer{life: r.Uint64("life"), shows: time.Duration(r.Uint64("shows_nanos"))}
	a.standings = mls.ReadList(r, "shards", func(r *mls.Reader) shardStanding {
		return shardStanding{shard: fsm.ShardID(r.Uint32("shard")), taken: r.Bool("taken"), applied: r.Uint64("applied"), lots: lots(r.Uint64("lots"))}
	})
	return a, r.Close()
}

// serveAppoint takes up what this node is appointed for.
func (n *Node) serveAppoint(_ context.Context, _ string, payload []byte) ([]byte, error) {
	now := n.config.Clock.Monotonic()
	r := mls.NewReader("AppointRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	round, life := r.Uint64("round"), r.Uint64("life")
	// A clock that shows more than this one is not this one, nor is it any use to be appointed for longer than anybody appoints.
	base := min(time.Duration(min(r.Uint64("base_nanos"), 1<<62)), now)
	lasts := min(time.Duration(r.Uint32("lasts_millis"))*time.Millisecond, appointmentLasts)
	shards := mls.ReadList(r, "shards", func(r *mls.Reader) shardAppointment {
		return shardAppointment{
			shard: fsm.ShardID(r.Uint32("shard")), asks: r.Bool("asks"), term: r.Uint64("term"), floor: r.Uint64("floor"), lots: lots(r.Uint64("lots")),
		}
	})
	if err := r.Close(); err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint64(n.appointed.life)
	w.Uint64(uint64(now))
	w.Vector(func(w *mls.Writer) {
		for _, s := range shards {
			replica := n.replica(s.shard)
			if replica == nil {
				continue
			}
			next := appointment{term: s.term, round: round, lots: s.lots, floor: s.floor, until: base + lasts}
			valid := !s.asks && life == n.appointed.life && s.term >= replica.raft.CurrentTerm()
			taken := valid && n.appointed.take(s.shard, next)
			w.Uint32(uint32(s.shard))
			w.Bool(taken)
			w.Uint64(replica.machine.applied.current())
			w.Uint64(uint64(n.appointed.lasting(s.shard)))
		}
	})
	return w.Bytes(), nil
}
