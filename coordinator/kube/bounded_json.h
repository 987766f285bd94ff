#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

namespace vmferry::kube {

// JSON that stands as text inside an object (an annotation, a parameter, a CNI configuration), and
// may be by anyone: at most `max_bytes` long and `max_depth` deep, else copying it would overflow
// the stack. Null for what is no JSON or beyond a bound: callers ask for the type that they need.
nlohmann::json parse_bounded_json(std::string_view text, std::size_t max_bytes = 1 << 20,
                                  int max_depth = 64);

}  // namespace vmferry::kube
