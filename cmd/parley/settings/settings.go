// Package settings names what an operator may change of a cluster while it runs: the limits of fsm.Settings, each with its meaning and a
// form for people. A value is a text: a whole number, a length of time ("10s", "92d"), yes or no, a word, or a list with commas.
package settings

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// Default is the text that brings a setting back to its default.
const Default = "default"

// Setting is one limit.
type Setting struct {
	Name    string // in lower case, words with hyphens
	Meaning string // one sentence, without a full stop

	read  func(fsm.Settings) string
	write func(*fsm.Settings, string) error // the error says what is wrong with the text, without the name
}

// Value is the setting as it is in force.
func (s Setting) Value(in fsm.Settings) string { return s.read(in) }

// All are there, in the order in which they are shown. The provider's domains are none: they are the cluster's name.
func All() []Setting { return slices.Concat(rooms(), keyPackages(), claims(), bulk()) }

// Find returns the setting of a name.
func Find(name string) (Setting, bool) {
	all := All()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return all[i], true
}

// Defaults are the settings of a cluster about which nothing was said, with the values of all that is no limit.
func Defaults(in fsm.Settings) fsm.Settings {
	out := fsm.DefaultSettings(in.Domains...)
	out.HubKeys, out.Format = in.HubKeys, in.Format
	return out
}

// Change returns settings with new values, by name. Either all of them hold or none. The error is a *mls.MalformedError whose field is
// the name of the setting.
func Change(in fsm.Settings, values map[string]string) (fsm.Settings, error) {
	out, defaults := in, Defaults(in)
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s, known := Find(name)
		if !known {
			return in, &mls.MalformedError{Field: name, Reason: "there is no such setting"}
		}
		text := values[name]
		if text == Default {
			text = s.read(defaults)
		}
		if err := s.write(&out, text); err != nil {
			return in, &mls.MalformedError{Field: name, Reason: err.Error()}
		}
	}
	if name, reason := fault(out); name != "" {
		return in, &mls.MalformedError{Field: name, Reason: reason}
	}
	return out, nil
}

// fault says which setting does not go with others, and why; no name where all do. What a setting may be by itself is looked at when it
// is written.
func fault(s fsm.Settings) (name, reason string) {
	switch {
	case s.LeaseMinMillis > s.LeaseDefaultMillis:
		return nameLeaseMin, fmt.Sprintf("it is above %s, which is %s", nameLeaseDefault, duration(s.LeaseDefaultMillis))
	case s.LeaseDefaultMillis > s.LeaseMaxMillis:
		return nameLeaseDefault, fmt.Sprintf("it is above %s, which is %s", nameLeaseMax, duration(s.LeaseMaxMillis))
	case s.Claims.PerRoomMax > s.Claims.PerPairMax:
		return namePerRoom, fmt.Sprintf("it is above %s, which is %d", namePerPair, s.Claims.PerPairMax)
	case s.Claims.LowWater > s.KeyPackagesPerClientMax:
		return nameLowWater, fmt.Sprintf("it is above %s, which is %d", namePerClient, s.KeyPackagesPerClientMax)
	case s.Claims.Floor > s.KeyPackagesPerClientMax:
		return nameFloor, fmt.Sprintf("it is above %s, which is %d", namePerClient, s.KeyPackagesPerClientMax)
	}
	return "", ""
}
