package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// Commands, outcomes and records are written in TLS presentation language, as the wire is: one encoding a value, lengths that
// are checked against what is there, and no trailing bytes. What was once in a log or a state has to be readable for ever, so a
// layout never changes under its version; a new one gets a new version, and its reader stays beside the old one.

// hashBytes is the length of a SHA-256.
const hashBytes = 32

func readHash(r *mls.Reader, field string) (hash [hashBytes]byte) {
	copy(hash[:], r.Fixed(field, hashBytes))
	return hash
}

func readList[T any](r *mls.Reader, field string, read func(*mls.Reader) T) []T {
	return mls.ReadList(r, field, read)
}

func appendList[T any](w *mls.Writer, list []T, write func(*mls.Writer, T)) {
	w.Vector(func(w *mls.Writer) {
		for _, v := range list {
			write(w, v)
		}
	})
}

// readText reads opaque<V> into a string type, raw octets and all.
func readText[T ~string](r *mls.Reader, field string) T { return T(r.Opaque(field)) }

func appendText[T ~string](w *mls.Writer, v T) { w.Opaque([]byte(v)) }

func readTexts[T ~string](r *mls.Reader, field string) []T {
	return readList(r, field, func(r *mls.Reader) T { return readText[T](r, "") })
}

func appendTexts[T ~string](w *mls.Writer, list []T) { appendList(w, list, appendText[T]) }

func readCodes[T ~uint16](r *mls.Reader, field string) []T {
	return readList(r, field, func(r *mls.Reader) T { return T(r.Uint16("")) })
}

func appendCodes[T ~uint16](w *mls.Writer, list []T) {
	appendList(w, list, func(w *mls.Writer, code T) { w.Uint16(uint16(code)) })
}

func readProviders(r *mls.Reader, field string) []mimi.Provider {
	return readList(r, field, func(r *mls.Reader) mimi.Provider { return mimi.ReadProvider(r, "") })
}

func appendProviders(w *mls.Writer, list []mimi.Provider) {
	appendList(w, list, func(w *mls.Writer, p mimi.Provider) { p.AppendTo(w) })
}

//	struct {
//	    opaque user<V>;
//	    uint32 role;
//	} Participant;
func readParticipant(r *mls.Reader) Participant {
	return Participant{User: mimi.ReadUserURI(r, "user"), Role: r.Uint32("role")}
}

func appendParticipant(w *mls.Writer, p Participant) {
	p.User.AppendTo(w)
	w.Uint32(p.Role)
}

// readVersion reads the octet that every encoding begins with, and refuses other versions than 1 to last.
func readVersion(r *mls.Reader, last uint8) uint8 {
	version := r.Uint8("version")
	if !r.Failed() && (version == 0 || version > last) {
		r.Fail("version", "it is not known to this program")
	}
	return version
}

// encode writes a versioned value.
func encode(version uint8, write func(*mls.Writer)) []byte {
	var w mls.Writer
	w.Uint8(version)
	write(&w)
	return w.Bytes()
}

// decode reads a value of version 1, the only one of its layout so far.
func decode[T any](name string, b []byte, read func(*mls.Reader) T) (T, error) {
	return decodeUpTo(name, b, 1, func(r *mls.Reader, _ uint8) T { return read(r) })
}

// decodeUpTo reads a value of any version up to the last.
func decodeUpTo[T any](name string, b []byte, last uint8, read func(r *mls.Reader, version uint8) T) (T, error) {
	r := mls.NewReader(name, b)
	version := readVersion(r, last)
	v := read(r, version)
	if err := r.Close(); err != nil {
		var none T
		return none, err
	}
	return v, nil
}
