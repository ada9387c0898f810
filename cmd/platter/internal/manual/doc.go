// Package manual writes the manual pages from the tables of the verbs: platter.1, and one page for each verb.
package manual
