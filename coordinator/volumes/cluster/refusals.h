#pragma once

#include <string_view>

#include "common/error.h"

namespace vmferry::volumes {

// The API server's refusal of a claim or pod, with the code that tells a person what to do: a quota
// or limit (VMF-K8S-QUOTA, ResourceExhausted); `otherwise` for what it refuses without a code of
// its own, or as an invalid object, which no person wrote. Other errors stay as they are. Pure.
Error explained(const Error& error, std::string_view otherwise);

// A refusal that a person can mend without touching the import.
bool is_mendable(const Error& error);

}  // namespace vmferry::volumes
