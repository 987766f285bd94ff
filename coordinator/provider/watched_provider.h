#pragma once

#include <memory>
#include <string>

#include "coordinator/provider/provider.h"
#include "coordinator/provider/source_turns.h"

namespace vmferry {

// The same provider, each of whose calls is told to `turns` (which outlives it) as one of `source`.
// While the source rests, the credentials of running transfers are not renewed: that is refused at
// once, as Unavailable, and asked for again.
std::unique_ptr<Provider> watched(std::unique_ptr<Provider> provider, std::string source,
                                  SourceTurns& turns);

}  // namespace vmferry
