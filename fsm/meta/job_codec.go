package meta

import (
	"encoding/binary"

	"parley/mls"
)

func jobKey(id uint64) []byte { return newKey(keyJob, binary.BigEndian.AppendUint64(nil, id)...) }

//	struct {
//	    uint64 id;
//	    opaque kind<V>;
//	    opaque area<V>;
//	    opaque spec<V>;
//	    opaque key<V>;
//	    opaque by<V>;
//	    uint8 state;
//	    uint64 revision;
//	    JobProgress progress;
//	    uint64 created_millis;
//	    uint64 updated_millis;
//	    opaque error<V>;
//	} Job;
func (j Job) appendTo(w *mls.Writer) {
	w.Uint64(j.ID)
	appendText(w, j.Kind)
	appendText(w, j.Area)
	w.Opaque(j.Spec)
	appendText(w, j.Key)
	appendText(w, j.By)
	w.Uint8(uint8(j.State))
	w.Uint64(j.Revision)
	j.JobProgress.appendTo(w)
	w.Uint64(j.CreatedMillis)
	w.Uint64(j.UpdatedMillis)
	appendText(w, j.Error)
}

func readJob(r *mls.Reader) Job {
	return Job{
		ID: r.Uint64("id"), Kind: string(r.Opaque("kind")), Area: string(r.Opaque("area")), Spec: r.Opaque("spec"),
		Key: string(r.Opaque("key")), By: string(r.Opaque("by")), State: JobState(r.Uint8("state")), Revision: r.Uint64("revision"),
		JobProgress: readJobProgress(r), CreatedMillis: r.Uint64("created_millis"), UpdatedMillis: r.Uint64("updated_millis"),
		Error: string(r.Opaque("error")),
	}
}

//	struct {
//	    uint64 step;
//	    opaque text<V>;
//	    uint64 units_done;
//	    uint64 units_total;
//	    uint64 bytes_done;
//	    uint64 bytes_total;
//	} JobProgress;
func (p JobProgress) appendTo(w *mls.Writer) {
	w.Uint64(p.Step)
	appendText(w, p.Text)
	w.Uint64(p.UnitsDone)
	w.Uint64(p.UnitsTotal)
	w.Uint64(p.BytesDone)
	w.Uint64(p.BytesTotal)
}

func readJobProgress(r *mls.Reader) JobProgress {
	return JobProgress{
		Step: r.Uint64("step"), Text: string(r.Opaque("text")), UnitsDone: r.Uint64("units_done"), UnitsTotal: r.Uint64("units_total"),
		BytesDone: r.Uint64("bytes_done"), BytesTotal: r.Uint64("bytes_total"),
	}
}

//	struct {
//	    opaque kind<V>;
//	    opaque area<V>;
//	    opaque spec<V>;
//	    opaque key<V>;
//	    opaque by<V>;
//	    uint8 planned;
//	    uint64 stamp;
//	} PutJob;
func (c PutJob) appendTo(w *mls.Writer) {
	appendText(w, c.Kind)
	appendText(w, c.Area)
	w.Opaque(c.Spec)
	appendText(w, c.Key)
	appendText(w, c.By)
	w.Bool(c.Planned)
	w.Uint64(c.Stamp)
}

func readPutJob(r *mls.Reader) PutJob {
	return PutJob{
		Kind: string(r.Opaque("kind")), Area: string(r.Opaque("area")), Spec: r.Opaque("spec"), Key: string(r.Opaque("key")),
		By: string(r.Opaque("by")), Planned: r.Bool("planned"), Stamp: r.Uint64("stamp"),
	}
}

//	struct {
//	    uint64 id;
//	    uint64 revision;
//	    JobProgress progress;
//	    uint64 stamp;
//	} ReportJob;
func (c ReportJob) appendTo(w *mls.Writer) {
	w.Uint64(c.ID)
	w.Uint64(c.Revision)
	c.Progress.appendTo(w)
	w.Uint64(c.Stamp)
}

func readReportJob(r *mls.Reader) ReportJob {
	return ReportJob{ID: r.Uint64("id"), Revision: r.Uint64("revision"), Progress: readJobProgress(r), Stamp: r.Uint64("stamp")}
}

// struct { uint64 id; uint8 wish; uint64 stamp; } SteerJob;
func (c SteerJob) appendTo(w *mls.Writer) {
	w.Uint64(c.ID)
	w.Uint8(uint8(c.Wish))
	w.Uint64(c.Stamp)
}

func readSteerJob(r *mls.Reader) SteerJob {
	return SteerJob{ID: r.Uint64("id"), Wish: JobWish(r.Uint8("wish")), Stamp: r.Uint64("stamp")}
}

//	struct {
//	    uint64 id;
//	    uint64 revision;
//	    uint8 state;
//	    opaque error<V>;
//	    JobProgress progress;
//	    uint64 stamp;
//	} EndJob;
func (c EndJob) appendTo(w *mls.Writer) {
	w.Uint64(c.ID)
	w.Uint64(c.Revision)
	w.Uint8(uint8(c.State))
	appendText(w, c.Error)
	c.Progress.appendTo(w)
	w.Uint64(c.Stamp)
}

func readEndJob(r *mls.Reader) EndJob {
	return EndJob{
		ID: r.Uint64("id"), Revision: r.Uint64("revision"), State: JobState(r.Uint8("state")), Error: string(r.Opaque("error")),
		Progress: readJobProgress(r), Stamp: r.Uint64("stamp"),
	}
}
