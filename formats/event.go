package formats

// Event is a place in the work of a driver or of the graph that a filter can wait for (QAPI BlkdebugEvent).
type Event uint8

// The events. EventNone is raised once, when the filter has been opened; the others are in QAPI's order.
const (
	EventNone Event = iota
	EventL1Update
	EventL1GrowAllocTable
	EventL1GrowWriteTable
	EventL1GrowActivateTable
	EventL2Load
	EventL2Update
	EventL2UpdateCompressed
	EventL2AllocCOWRead
	EventL2AllocWrite
	EventRead
	EventReadBacking
	EventReadCompressed
	EventWrite
	EventWriteCompressed
	EventVMStateLoad
	EventVMStateSave
	EventCOWRead
	EventCOWWrite
	EventRefTableLoad
	EventRefTableGrow
	EventRefTableUpdate
	EventRefBlockLoad
	EventRefBlockUpdate
	EventRefBlockUpdatePart
	EventRefBlockAlloc
	EventRefBlockAllocHookup
	EventRefBlockAllocWrite
	EventRefBlockAllocWriteBlocks
	EventRefBlockAllocWriteTable
	EventRefBlockAllocSwitchTable
	EventClusterAlloc
	EventClusterAllocBytes
	EventClusterFree
	EventFlushToOS
	EventFlushToDisk
	EventPwritevRMWHead
	EventPwritevRMWAfterHead
	EventPwritevRMWTail
	EventPwritevRMWAfterTail
	EventPwritev
	EventPwritevZero
	EventPwritevDone
	EventEmptyImagePrepare
	EventL1ShrinkWriteTable
	EventL1ShrinkFreeL2Clusters
	EventCORWrite
	EventClusterAllocSpace
	EventCount int = iota
)

var eventNames = [EventCount]string{
	"none", "l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update",
	"l2_update_compressed", "l2_alloc_cow_read", "l2_alloc_write", "read_aio", "read_backing_aio", "read_compressed",
	"write_aio", "write_compressed", "vmstate_load", "vmstate_save", "cow_read", "cow_write", "reftable_load",
	"reftable_grow", "reftable_update", "refblock_load", "refblock_update", "refblock_update_part", "refblock_alloc",
	"refblock_alloc_hookup", "refblock_alloc_write", "refblock_alloc_write_blocks", "refblock_alloc_write_table",
	"refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os", "flush_to_disk",
	"pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail", "pwritev", "pwritev_zero",
	"pwritev_done", "empty_image_prepare", "l1_shrink_write_table", "l1_shrink_free_l2_clusters", "cor_write",
	"cluster_alloc_space",
}

// String is the event's QAPI name.
func (e Event) String() string { return eventNames[e] }

// ParseEvent finds an event by its QAPI name.
func ParseEvent(s string) (Event, bool) {
	for i, n := range eventNames {
		if n == s {
			return Event(i), true
		}
	}
	return 0, false
}

// Eventer is an image that wants to be told of events at the node above it: blkdebug.
type Eventer interface{ Event(e Event) }

// Events tells the listener below a driver, if there is one; the zero value tells nobody, and costs a comparison.
type Events struct{ to Eventer }

// EventsOf gives the listener that f is. Only the child itself is asked, nothing below it.
func EventsOf(f Image) Events {
	to, _ := As[Eventer](f)
	return Events{to}
}

// Raise says that e happens now, before the request that it names is sent to the child.
func (e Events) Raise(ev Event) {
	if e.to != nil {
		e.to.Event(ev)
	}
}

// Heard reports whether anybody listens. A driver that gathers changes then makes them at once, so that what a rule makes
// fail is the request that caused it.
func (e Events) Heard() bool { return e.to != nil }
