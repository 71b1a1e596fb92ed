package cluster

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"parley/fsm"
	"parley/fsm/meta"
)

// StepKind is what a step of a plan does. The texts are in the replicated state, and never change their meaning.
type StepKind string

// The kinds of steps.
const (
	StepAddReplica     StepKind = "add-replica"     // Shard gets a replica on Node
	StepMoveReplica    StepKind = "move-replica"    // Shard gets one on Node, and then loses that on From
	StepRemoveReplica  StepKind = "remove-replica"  // Shard loses that on From
	StepMoveLead       StepKind = "move-lead"       // Shard is led by Node
	StepOpenShard      StepKind = "open-shard"      // Shard is opened, without slots, on Replicas
	StepMoveSlots      StepKind = "move-slots"      // Slots go from Shard to To
	StepRetireShard    StepKind = "retire-shard"    // Shard, which has no slot any more, ends
	StepDrainNode      StepKind = "drain-node"      // Node leads nothing any more, and takes nothing
	StepLeaveNode      StepKind = "leave-node"      // Node, which has nothing any more, is not wanted
	StepSetReplication StepKind = "set-replication" // each shard is to have Factor replicas
)

// PlanStep is one step of a plan. Which fields count is its kind's to say.
type PlanStep struct {
	Kind     StepKind     `json:"kind"`
	Shard    fsm.ShardID  `json:"shard,omitempty"`
	To       fsm.ShardID  `json:"to,omitempty"`
	Slots    []fsm.SlotID `json:"slots,omitempty"` // ascending
	From     string       `json:"from,omitempty"`
	Node     string       `json:"node,omitempty"`
	Replicas []string     `json:"replicas,omitempty"` // the first one is to lead
	Factor   int          `json:"factor,omitempty"`
	Bytes    uint64       `json:"bytes,omitempty"` // that go over the network, about
}

// PlanSpec is what a job of a plan is to do. Its steps are taken in their order, each when the one before is done.
type PlanSpec struct {
	MapVersion uint64     `json:"mapVersion"`       // for which it was made
	Layout     string     `json:"layout,omitempty"` // what LayoutOf was then; empty: it fits any
	Steps      []PlanStep `json:"steps"`
	// About is more for people, in a form of who made the plan.
	About json.RawMessage `json:"about,omitempty"`
}

// planBytesMax bounds what a spec may come to when it is unpacked.
const planBytesMax = 16 << 20

// EncodePlan writes a spec for a job, packed: a plan of a large cluster has thousands of steps that are much alike.
func EncodePlan(p PlanSpec) ([]byte, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if packed.Len() > meta.JobSpecBytesMax {
		return nil, &RefusedError{fmt.Sprintf("the plan has %d steps, more than one job can keep; ask for less at a time", len(p.Steps))}
	}
	return packed.Bytes(), nil
}

// DecodePlan reads what EncodePlan wrote.
func DecodePlan(spec []byte) (p PlanSpec, err error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(spec)), planBytesMax))
	if err == nil {
		err = json.Unmarshal(plain, &p)
	}
	if err != nil {
		return PlanSpec{}, fmt.Errorf("the plan cannot be read: %w", err)
	}
	return p, nil
}

// stepExecutor takes one step of a plan. It is called again until it says done, by the rules of jobRunner.step: it decides by what it finds,
// and says done at once of what is so already.
type stepExecutor func(ctx context.Context, job meta.Job, s PlanStep) (stepProgress, error)

// stepCanceller brings a step that may be under way to an end, so that nothing of it goes on by itself. It is called again until it says done.
type stepCanceller func(ctx context.Context, job meta.Job, s PlanStep) (done bool, err error)

// stepProgress is how far a step is.
type stepProgress struct {
	done  bool
	text  string // empty: what the step is
	bytes uint64 // of the step's
}

// planRunner carries out jobs whose spec is a PlanSpec. The job's Step is the number of the step that comes next, or of an earlier one.
type planRunner struct{ node *Node }

func (r planRunner) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	p, err := DecodePlan(job.Spec)
	if err != nil {
		return jobProgress{}, fmt.Errorf("%w: %v", errJobFailed, err)
	}
	at := min(job.Step, uint64(len(p.Steps)))
	progress := jobProgress{cursor: at, units: at, unitsTotal: uint64(len(p.Steps)), text: "all steps are done"}
	for i, s := range p.Steps {
		progress.bytesTotal += s.Bytes
		if uint64(i) < at {
			progress.bytes += s.Bytes
		}
	}
	if at == uint64(len(p.Steps)) {
		progress.done = true
		return progress, nil
	}
	s := p.Steps[at]
	execute, known := r.node.stepExecutors()[s.Kind]
	if !known {
		return jobProgress{}, fmt.Errorf("%w: this program knows no steps of kind %q", errJobFailed, s.Kind)
	}
	r.node.reached("plan." + string(s.Kind))
	taken, err := execute(ctx, job, s)
	if err != nil {
		return jobProgress{}, fmt.Errorf("step %d of %d, %s: %w", at+1, len(p.Steps), s, err)
	}
	progress.text = s.String()
	if taken.text != "" {
		progress.text += ": " + taken.text
	}
	progress.bytes += min(taken.bytes, s.Bytes)
	if taken.done {
		progress.bytes += s.Bytes - min(taken.bytes, s.Bytes)
		progress.cursor, progress.units = at+1, at+1
	}
	return progress, nil
}

func (r planRunner) cancel(ctx context.Context, job meta.Job) (done bool, err error) {
	p, err := DecodePlan(job.Spec)
	if err != nil || job.Step >= uint64(len(p.Steps)) {
		return true, nil // there is nothing that could be under way
	}
	done = true
	for _, s := range p.Steps[job.Step:] { // which of them are under way the job may not have recorded any more
		cancel, known := r.node.stepCancellers()[s.Kind]
		if !known {
			continue
		}
		r.node.reached("plan.cancel-" + string(s.Kind))
		ended, err := cancel(ctx, job, s)
		if err != nil {
			return false, err
		}
		done = done && ended
	}
	return done, nil
}

// String is the step for people.
func (s PlanStep) String() string {
	switch s.Kind {
	case StepAddReplica:
		return fmt.Sprintf("a replica of shard %d on %s", s.Shard, s.Node)
	case StepMoveReplica:
		return fmt.Sprintf("the replica of shard %d from %s to %s", s.Shard, s.From, s.Node)
	case StepRemoveReplica:
		return fmt.Sprintf("no replica of shard %d on %s", s.Shard, s.From)
	case StepMoveLead:
		return fmt.Sprintf("the lead of shard %d to %s", s.Shard, s.Node)
	case StepOpenShard:
		return fmt.Sprintf("shard %d on %v", s.Shard, s.Replicas)
	case StepMoveSlots:
		return fmt.Sprintf("%d slots from shard %d to shard %d", len(s.Slots), s.Shard, s.To)
	case StepRetireShard:
		return fmt.Sprintf("the end of shard %d", s.Shard)
	case StepDrainNode:
		return fmt.Sprintf("node %s is drained", s.Node)
	case StepLeaveNode:
		return fmt.Sprintf("node %s leaves", s.Node)
	case StepSetReplication:
		return fmt.Sprintf("%d replicas of each shard", s.Factor)
	default:
		return string(s.Kind)
	}
}
