package render

import (
	"fmt"
	"strings"

	"platter/formats/qobj"
	"platter/tools"
)

// Info describes images for people, with an empty line between two.
func Info(list []*tools.ImageInfo) string {
	var b strings.Builder
	for i, info := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		nodeText(&b, info, "", "/", false)
	}
	return b.String()
}

// indent is how far a child stands to the right of its parent.
const indent = "    "

func nodeText(b *strings.Builder, i *tools.ImageInfo, ind, path string, protocol bool) {
	line := func(format string, a ...any) { fmt.Fprintf(b, ind+format+"\n", a...) }
	name, format, length := "image", "file format", "virtual size"
	if protocol {
		name, format, length = "filename", "protocol type", "file length"
	}
	line("%s: %s", name, i.Filename)
	line("%s: %s", format, i.Format)
	line("%s: %s (%d bytes)", length, Size(i.VirtualSize), i.VirtualSize)
	if i.ActualSize < 0 {
		line("disk size: unavailable")
	} else {
		line("disk size: %s", Size(i.ActualSize))
	}
	if i.Encrypted {
		line("encrypted: yes")
	}
	if i.ClusterSize != 0 {
		line("cluster_size: %d", i.ClusterSize)
	}
	if i.DirtyFlag {
		line("cleanly shut down: no")
	}
	backingText(line, i)
	if len(i.Snapshots) > 0 {
		snapshotTable(b, i.Snapshots, ind)
	}
	if i.Specific.Len() > 0 {
		line("Format specific information:")
		dictText(b, i.Specific, ind+indent)
	}
	for _, c := range i.Children {
		line("Child node '%s%s':", path, c.Name)
		nodeText(b, c.Info, ind+indent, path+c.Name+"/", len(c.Info.Children) == 0)
	}
}

func backingText(line func(string, ...any), i *tools.ImageInfo) {
	if i.BackingFilename == "" {
		return
	}
	switch i.FullBacking {
	case "":
		line("backing file: %s (cannot determine actual path)", i.BackingFilename)
	case i.BackingFilename:
		line("backing file: %s", i.BackingFilename)
	default:
		line("backing file: %s (actual path: %s)", i.BackingFilename, i.FullBacking)
	}
	if i.BackingFormat != "" {
		line("backing file format: %s", i.BackingFormat)
	}
}

func dictText(b *strings.Builder, d *qobj.Dict, ind string) {
	for k, v := range d.All() {
		memberText(b, strings.ReplaceAll(k, "-", " "), v, ind)
	}
}

func memberText(b *strings.Builder, key string, v any, ind string) {
	b.WriteString(ind + key + ":")
	switch v := v.(type) {
	case *qobj.Dict:
		b.WriteByte('\n')
		dictText(b, v, ind+indent)
	case qobj.List:
		b.WriteByte('\n')
		for i, e := range v {
			memberText(b, fmt.Sprintf("[%d]", i), e, ind+indent)
		}
	case string:
		b.WriteString(" " + v + "\n")
	default:
		b.WriteString(" " + string(qobj.AppendJSON(nil, v, false)) + "\n")
	}
}

// InfoJSON describes images as JSON: a list if chain, otherwise the first one alone.
func InfoJSON(list []*tools.ImageInfo, chain bool) string {
	all := qobj.List{}
	for _, i := range list {
		all = append(all, InfoDict(i))
	}
	if chain {
		return pretty(all)
	}
	return pretty(all[0])
}

// InfoDict is QAPI's BlockGraphInfo. The order in which members are set decides between those of one bucket.
func InfoDict(i *tools.ImageInfo) *qobj.Dict {
	d := qobj.NewDict()
	d.Set("filename", i.Filename)
	d.Set("format", i.Format)
	if i.HasDirtyFlag {
		d.Set("dirty-flag", i.DirtyFlag)
	}
	if i.ActualSize >= 0 {
		d.Set("actual-size", i.ActualSize)
	}
	d.Set("virtual-size", i.VirtualSize)
	if i.ClusterSize != 0 {
		d.Set("cluster-size", i.ClusterSize)
	}
	if i.Encrypted {
		d.Set("encrypted", true)
	}
	backingMembers(d, i)
	if len(i.Snapshots) > 0 {
		list := qobj.List{}
		for _, s := range i.Snapshots {
			list = append(list, snapshotDict(s))
		}
		d.Set("snapshots", list)
	}
	if i.SpecificKind != "" {
		s := qobj.NewDict()
		s.Set("type", i.SpecificKind)
		s.Set("data", i.Specific)
		d.Set("format-specific", s)
	}
	children := qobj.List{}
	for _, c := range i.Children {
		m := qobj.NewDict()
		m.Set("name", c.Name)
		m.Set("info", InfoDict(c.Info))
		children = append(children, m)
	}
	d.Set("children", children)
	return d
}

func backingMembers(d *qobj.Dict, i *tools.ImageInfo) {
	if i.BackingFilename == "" {
		return
	}
	d.Set("backing-filename", i.BackingFilename)
	if i.FullBacking != "" {
		d.Set("full-backing-filename", i.FullBacking)
	}
	if i.BackingFormat != "" {
		d.Set("backing-filename-format", i.BackingFormat)
	}
}

// pretty is JSON over several lines, as all verbs print it.
func pretty(v any) string { return string(qobj.AppendJSON(nil, v, true)) + "\n" }
