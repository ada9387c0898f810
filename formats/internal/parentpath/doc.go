// Package parentpath turns the paths by which VHD and VHDX images name their parents, written for Windows, into paths of
// this system, and back.
package parentpath
