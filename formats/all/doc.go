// Package all is the list of drivers of the program. Only main and tests import it.
package all
