#pragma once

#include "common/error.h"

namespace vmferry {

// Why the control loop stopped a job.
enum class StopReason { None, Cancelled, Superseded, LeaseLost, AgentStops };

// The error of a job that ended after it was stopped, as the coordinator is told it: Unavailable
// with VMF-XFER-AGENT-LOST where the stop or something that passes ended it, for that says nothing
// of the disk. What the job found out for good (a source that changed, a full target) stays.
Error failure_to_tell(StopReason reason, Error error);

}  // namespace vmferry
