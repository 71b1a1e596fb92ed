package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"parley/cluster/transport"
	"parley/fsm"
	"parley/mls"
)

// A node that does not lead a shard hands the leader its bulk commands in convoys: what is waiting when a call can go travels in one. A
// command that meets no call under way goes at once; others wait for a call to return, for company enough, or for convoyWindow. So many
// small requests cost the leader one call, one decoding and one answer.
const (
	convoyWindow   = time.Millisecond // the longest that a command waits for company
	convoyFull     = 256 << 10        // bytes that need no more company
	convoyBytesMax = 4 << 20          // one call
	convoyCallsMax = 8                // under way at a time to one shard's leader
	convoyWaitMax  = 64 << 20         // bytes of commands that a node holds for all leaders, on the way or waiting
)

// convoys are those of a node. Safe for concurrent use.
type convoys struct {
	node *Node

	mu    sync.Mutex // guards what follows, and the passengers
	to    map[convoyTarget]*convoy
	bytes int
}

type convoyTarget struct {
	node  string
	shard fsm.ShardID
}

type convoy struct {
	waiting []*passenger
	bytes   int // of waiting
	calls   int // under way
}

// passenger is the commands of one run. They stay together and in their order.
type passenger struct {
	commands [][]byte
	bytes    int
	sent     bool
	answers  []answer      // valid once arrived
	arrived  chan struct{} // closed then
}

func newConvoys(n *Node) *convoys { return &convoys{node: n, to: make(map[convoyTarget]*convoy)} }

// ask brings commands of one slot to a leader and returns what became of each. Where the context ends first, what was not sent is not proposed.
func (c *convoys) ask(ctx context.Context, target string, shard fsm.ShardID, commands []fsm.Command) []answer {
	p := &passenger{arrived: make(chan struct{})}
	for _, command := range commands {
		encoded := fsm.EncodeCommand(command)
		p.commands = append(p.commands, encoded)
		p.bytes += len(encoded) + 8
	}
	key := convoyTarget{target, shard}
	if !c.board(key, p) {
		return all(len(commands), answer{code: answerOverloaded})
	}
	window := time.NewTimer(convoyWindow)
	defer window.Stop()
	select {
	case <-p.arrived:
		return p.answers
	case <-window.C:
		c.send(key, true)
	case <-ctx.Done():
	}
	select {
	case <-p.arrived:
		return p.answers
	case <-ctx.Done():
		if c.leave(key, p) {
			return all(len(commands), answer{code: answerNotProposed})
		}
		return all(len(commands), answer{code: answerUnknown})
	}
}

func all(n int, a answer) []answer { return slices.Repeat([]answer{a}, n) }

// board lets a passenger wait; false where the node holds too much already.
func (c *convoys) board(key convoyTarget, p *passenger) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes+p.bytes > convoyWaitMax {
		return false
	}
	v := c.to[key]
	if v == nil {
		v = new(convoy)
		c.to[key] = v
	}
	v.waiting = append(v.waiting, p)
	v.bytes += p.bytes
	c.bytes += p.bytes
	c.sendLocked(key, v, false)
	return true
}

// leave takes a passenger back that was not sent yet; false where it was.
func (c *convoys) leave(key convoyTarget, p *passenger) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.sent {
		return false
	}
	v := c.to[key]
	v.waiting = slices.DeleteFunc(v.waiting, func(other *passenger) bool { return other == p })
	v.bytes -= p.bytes
	c.bytes -= p.bytes
	c.tidy(key, v)
	return true
}

// send lets a convoy go that has waited long enough.
func (c *convoys) send(key convoyTarget, long bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.to[key]; v != nil {
		c.sendLocked(key, v, long)
	}
}

// sendLocked makes the calls that are due; under mu. Whoever calls it is one of the node's users, so that the node waits for the calls.
func (c *convoys) sendLocked(key convoyTarget, v *convoy, long bool) {
	for len(v.waiting) > 0 && v.calls < convoyCallsMax && (long || v.calls == 0 || v.bytes >= convoyFull) {
		size, n := 0, 0
		for n < len(v.waiting) && (n == 0 || size+v.waiting[n].bytes <= convoyBytesMax) {
			size += v.waiting[n].bytes
			v.waiting[n].sent = true
			n++
		}
		aboard := v.waiting[:n:n]
		v.waiting = v.waiting[n:]
		v.bytes -= size
		v.calls++
		c.node.users.Go(func() {
			c.call(key, aboard)
			c.mu.Lock()
			defer c.mu.Unlock()
			v.calls--
			c.bytes -= size
			c.sendLocked(key, v, true)
			c.tidy(key, v)
		})
	}
}

func (c *convoys) tidy(key convoyTarget, v *convoy) {
	if v.calls == 0 && len(v.waiting) == 0 && c.to[key] == v {
		delete(c.to, key)
	}
}

// call makes one call and tells the passengers.
func (c *convoys) call(key convoyTarget, aboard []*passenger) {
	ctx, cancel := context.WithTimeout(c.node.life, requestTimeout)
	defer cancel()
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(uint32(key.shard))
	w.Vector(func(w *mls.Writer) {
		for _, p := range aboard {
			w.Vector(func(w *mls.Writer) {
				for _, command := range p.commands {
					w.Opaque(command)
				}
			})
		}
	})
	raw, sent, err := c.node.call(ctx, key.node, methodProposeMany, w.Bytes())
	if remote := (*transport.RemoteError)(nil); errors.As(err, &remote) && remote.Code == transport.CodeUnknownMethod {
		c.oneByOne(ctx, key, aboard)
		return
	}
	answers, err := decodeConvoy(raw, sent, err, aboard)
	for i, p := range aboard {
		if err == nil {
			p.answers = answers[i]
		} else if sent {
			p.answers = all(len(p.commands), answer{code: answerUnknown})
		} else {
			p.answers = all(len(p.commands), answer{code: answerNotProposed})
		}
		close(p.arrived)
	}
}

// decodeConvoy reads the answers to each of the passengers.
func decodeConvoy(raw []byte, _ bool, err error, aboard []*passenger) ([][]answer, error) {
	if err != nil {
		return nil, err
	}
	var failed error
	read := func(r *mls.Reader) answer {
		a, err := decodeAnswer(r.Opaque(""))
		failed = errors.Join(failed, err)
		return a
	}
	r := mls.NewReader("ConvoyAnswer", raw)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	answers := mls.ReadList(r, "runs", func(r *mls.Reader) []answer { return mls.ReadList(r, "", read) })
	if err := errors.Join(r.Close(), failed); err != nil {
		return nil, err
	}
	if len(answers) != len(aboard) {
		return nil, fmt.Errorf("%d answers for %d runs", len(answers), len(aboard))
	}
	for i, p := range aboard {
		if len(answers[i]) != len(p.commands) {
			return nil, fmt.Errorf("%d answers for %d commands", len(answers[i]), len(p.commands))
		}
	}
	return answers, nil
}

// oneByOne is for a leader whose program does not know convoys. Of a run nothing is proposed behind a command that was not.
func (c *convoys) oneByOne(ctx context.Context, key convoyTarget, aboard []*passenger) {
	var wait sync.WaitGroup
	for _, p := range aboard {
		wait.Go(func() {
			defer close(p.arrived)
			for i, command := range p.commands {
				var w mls.Writer
				w.Uint8(answerVersion)
				w.Uint32(uint32(key.shard))
				w.Opaque(command)
				reply := received(c.node.call(ctx, key.node, methodPropose, w.Bytes()))
				p.answers = append(p.answers, reply)
				if stopsRun(reply.code) {
					p.answers = append(p.answers, all(len(p.commands)-i-1, behind(reply))...)
					return
				}
			}
		})
	}
	wait.Wait()
}

// stopsRun reports an answer behind which the rest of a run must not be proposed: it would overtake the command, which comes again.
func stopsRun(code answerCode) bool { return code != answerOutcome && code != answerMalformed }

// behind is the answer to what stands in a run behind a command with such an answer: nothing of it was proposed.
func behind(a answer) answer {
	if a.code == answerUnknown {
		return answer{code: answerNotProposed}
	}
	return a
}

// serveProposeMany answers methodProposeMany:
//
//	struct { uint8 version = 1; uint32 shard; opaque runs<V><V><V>; } ProposeManyRequest; // commands as of EncodeCommand
//	struct { uint8 version = 1; opaque answers<V><V><V>; } ConvoyAnswer;                   // as of Answer
func (n *Node) serveProposeMany(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("ProposeManyRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	shard := fsm.ShardID(r.Uint32("shard"))
	encoded := mls.ReadList(r, "runs", func(r *mls.Reader) [][]byte {
		return mls.ReadList(r, "", func(r *mls.Reader) []byte { return r.Opaque("") })
	})
	if err := r.Close(); err != nil {
		return nil, err
	}
	runs := make([]*startedRun, len(encoded))
	for i, commands := range encoded {
		runs[i] = n.startRaw(ctx, shard, commands)
	}
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Vector(func(w *mls.Writer) {
		for _, run := range runs {
			w.Vector(func(w *mls.Writer) {
				for _, reply := range run.await(ctx) {
					w.Opaque(reply.encode())
				}
			})
		}
	})
	return w.Bytes(), nil
}

// startRaw is start for commands as they came. One that cannot be read is answered as such, and the others of its run with it.
func (n *Node) startRaw(ctx context.Context, shard fsm.ShardID, encoded [][]byte) *startedRun {
	commands := make([]fsm.Command, len(encoded))
	for i, raw := range encoded {
		command, err := fsm.DecodeCommand(raw)
		if err != nil {
			return &startedRun{answers: all(len(encoded), answerOf(err))}
		}
		commands[i] = command
	}
	return n.startEncoded(ctx, shard, commands, encoded)
}
