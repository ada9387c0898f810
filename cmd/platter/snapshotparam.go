package main

import (
	"io"
	"strings"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/tools"
)

// snapshotParam is the value of -l: a name or id, or (Exact) a list that says which of the two is meant.
type snapshotParam struct {
	Given    bool
	NameOrID string
	Exact    bool
	ID, Name *string // of an Exact one; nil if not given
}

var snapshotSchema = option.Schema{
	{Name: "snapshot.id", Help: "snapshot id"},
	{Name: "snapshot.name", Help: "snapshot name"},
}

// snapshotParam reads the value of -l. A list outweighs names, whichever comes last.
func (p *parser) snapshotParam(s *snapshotParam) {
	s.Given = true
	if !strings.HasPrefix(p.value, "snapshot.") {
		s.NameOrID = p.value
		return
	}
	s.Exact, s.ID, s.Name = true, nil, nil
	if option.HasHelp(p.value) {
		io.WriteString(p.stdout, snapshotSchema.HelpText("snapshot options"))
		p.fail("Failed in parsing snapshot param '%s'", p.value)
		return
	}
	d, err := qobj.FromOptsString(p.value, "")
	if err == nil {
		p.warnFlags(p.value, "")
	}
	for e := range qobj.Opts(p.value, "") {
		if _, known := snapshotSchema.Find(e.Name); !known && e.Name != "id" && err == nil {
			err = qerr.New(0, "Invalid parameter '%s'", e.Name)
		}
	}
	if err != nil {
		p.reportError(err)
		p.fail("Failed in parsing snapshot param '%s'", p.value)
		return
	}
	if v, ok := d.String("snapshot.id"); ok {
		s.ID = &v
	}
	if v, ok := d.String("snapshot.name"); ok {
		s.Name = &v
	}
}

// tools gives what the verbs take, nil if the option was not given.
func (s *snapshotParam) tools() *tools.SnapshotParam {
	if !s.Given {
		return nil
	}
	return &tools.SnapshotParam{IDOrName: s.NameOrID, Exact: s.Exact, ID: s.ID, Name: s.Name}
}

// warnFlags warns of elements without a value in a list where that is no longer good style.
func (e *env) warnFlags(list, implied string) {
	for _, err := range qobj.FlagWarnings(list, implied) {
		e.warn("%s", qerr.Text(err))
		io.WriteString(e.stderr, e.safe(qerr.Hint(err)))
	}
}
