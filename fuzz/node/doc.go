// Package node has the fuzz targets of what a node reads from its disk and from its peers: journals, the cluster file,
// and the control stream of a node that lives.
package node
