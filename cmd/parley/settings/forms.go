package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"parley/fsm"
)

// counted is a whole number within bounds.
func counted(name, meaning string, low, high uint32, field func(*fsm.Settings) *uint32) Setting {
	return Setting{
		Name: name, Meaning: meaning,
		read: func(s fsm.Settings) string { return strconv.FormatUint(uint64(*field(&s)), 10) },
		write: func(s *fsm.Settings, text string) error {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil || n < uint64(low) || n > uint64(high) {
				return fmt.Errorf("it is no whole number from %d to %d", low, high)
			}
			*field(s) = uint32(n)
			return nil
		},
	}
}

// lasting is a length of time within bounds, which is kept in milliseconds.
func lasting(name, meaning string, low, high time.Duration, field func(*fsm.Settings) *uint64) Setting {
	return Setting{
		Name: name, Meaning: meaning,
		read: func(s fsm.Settings) string { return duration(*field(&s)) },
		write: func(s *fsm.Settings, text string) error {
			millis, err := parseDuration(text, low, high)
			if err == nil {
				*field(s) = millis
			}
			return err
		},
	}
}

// kept is how long something is kept of what goes in bulk. Zero stands for the default there, so what is shown is what is in force.
func kept(name, meaning string, field func(*fsm.BulkRules) *uint64) Setting {
	return Setting{
		Name: name, Meaning: meaning,
		read: func(s fsm.Settings) string {
			inForce := s.Bulk.InForce()
			return duration(*field(&inForce))
		},
		write: func(s *fsm.Settings, text string) error {
			millis, err := parseDuration(text, minute, 10*year)
			if err == nil {
				*field(&s.Bulk) = millis
			}
			return err
		},
	}
}

// bounded is a number of the rules for bulk; one that is not set is shown as its default.
func bounded(name, meaning string, low, high uint32, field func(*fsm.BulkRules) *uint32) Setting {
	s := counted(name, meaning, low, high, func(s *fsm.Settings) *uint32 { return field(&s.Bulk) })
	s.read = func(s fsm.Settings) string {
		inForce := s.Bulk.InForce()
		return strconv.FormatUint(uint64(*field(&inForce)), 10)
	}
	return s
}

// decided is yes or no.
func decided(name, meaning string, field func(*fsm.Settings) *bool) Setting {
	return Setting{
		Name: name, Meaning: meaning,
		read: func(s fsm.Settings) string {
			if *field(&s) {
				return "yes"
			}
			return "no"
		},
		write: func(s *fsm.Settings, text string) error {
			switch text {
			case "yes", "true":
				*field(s) = true
			case "no", "false":
				*field(s) = false
			default:
				return errors.New("it is neither yes nor no")
			}
			return nil
		},
	}
}

// duration writes milliseconds: whole days as such, and else as Go does, without what is zero at the end.
func duration(millis uint64) string {
	const dayMillis = uint64(day / time.Millisecond)
	if millis >= dayMillis && millis%dayMillis == 0 {
		return strconv.FormatUint(millis/dayMillis, 10) + "d"
	}
	text := (time.Duration(millis) * time.Millisecond).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parseDuration reads what duration writes, and any other length in Go's form.
func parseDuration(text string, low, high time.Duration) (millis uint64, err error) {
	length, err := time.ParseDuration(text)
	if days, yes := strings.CutSuffix(text, "d"); yes {
		var n uint64
		if n, err = strconv.ParseUint(days, 10, 32); err == nil && n <= uint64(high/day) {
			length = time.Duration(n) * day
		} else if err == nil {
			length = high + 1
		}
	}
	switch {
	case err != nil:
		return 0, errors.New(`it is no length of time, such as "90s", "12h" or "30d"`)
	case length < low || length > high || length%time.Millisecond != 0:
		return 0, fmt.Errorf("it is not between %s and %s, in whole milliseconds", duration(uint64(low/time.Millisecond)), duration(uint64(high/time.Millisecond)))
	}
	return uint64(length / time.Millisecond), nil
}
