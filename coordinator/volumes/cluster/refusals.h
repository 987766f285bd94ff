#pragma once

#include <string_view>

#include "common/error.h"

namespace vmferry::volumes {

// The API server's refusal of a claim or pod, with the code that tells a person what to do: a quota
// (VMF-DST-QUOTA, ResourceExhausted), else `otherwise` for what admission, pod security or
// validation refuses. Errors that come from elsewhere (away, cancelled) stay as they are. Pure.
Error explained(const Error& error, std::string_view otherwise);

// A refusal that a person can mend without touching the import.
bool is_mendable(const Error& error);

}  // namespace vmferry::volumes
