#pragma once

namespace vmferry {

// The holder pod's command: does nothing, so that the claims mounted in its pod stay mounted on
// its node, until SIGTERM or SIGINT; then ends at once. Returns the exit code.
int hold();

}  // namespace vmferry
