package judge

// repeated is a request after an attempt of which nothing is known.
type repeated struct{ Request }

// Repeated is the request as it is to be made after an attempt of which nothing is known: what may have been accepted then is not to be
// called rejected, nor not proposed, however often it is repeated. On its way to another node it says so where its command has to.
func Repeated(r Request) Request {
	switch r := r.(type) {
	case repeated:
		return r
	case *SubmitBatch:
		again := *r
		again.again = true
		return &again
	default:
		return repeated{r}
	}
}

// MayBeDecided reports that an attempt before this one may have been decided, and is the request that decides it.
func MayBeDecided(r Request) (_ Request, may bool) {
	switch r := r.(type) {
	case repeated:
		return r.Request, true
	case *SubmitBatch:
		return r, r.again
	default:
		return r, false
	}
}

// asRead is embedded by requests that only read: they propose nothing.
type asRead struct{ asDecided }

func (asRead) reads() {}

// Reads reports whether a request only reads: nothing of it gets into a log, so that its outcome is never unknown.
func Reads(r Request) bool {
	_, yes := r.(interface{ reads() })
	return yes
}
