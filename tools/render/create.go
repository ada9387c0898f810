package render

import (
	"fmt"

	"platter/formats/option"
	"platter/tools"
)

// Formatting is the line that create prints before it makes an image.
func Formatting(p *tools.CreatePlan) string {
	return fmt.Sprintf("Formatting '%s', fmt=%s %s\n", p.Filename, p.Driver.Name, option.FormatLine(p.Schema, p.Values))
}

// CreateHelp lists creation options; hasFile says whether those of the protocol are among them.
func CreateHelp(s option.Schema, format string, hasFile bool) string {
	if hasFile {
		return "Supported options:\n" + s.HelpText("")
	}
	return fmt.Sprintf("Supported %s options:\n", format) + s.HelpText("") +
		"\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n"
}

// AmendHelp lists the options that can be amended.
func AmendHelp(s option.Schema, format string) string {
	return fmt.Sprintf("Amend options for '%s':\n", format) + s.HelpText("")
}
