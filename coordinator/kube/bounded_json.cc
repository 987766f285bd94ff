#include "coordinator/kube/bounded_json.h"

namespace vmferry::kube {

nlohmann::json parse_bounded_json(std::string_view text, std::size_t max_bytes, int max_depth) {
  if (text.size() > max_bytes) return nullptr;
  bool too_deep = false;
  const auto guard = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) -> bool {
    if (depth > max_depth) too_deep = true;
    return !too_deep;  // what is not kept does not nest
  };
  nlohmann::json value =
      nlohmann::json::parse(text.begin(), text.end(), guard, /*allow_exceptions=*/false);
  if (too_deep || value.is_discarded()) return nullptr;
  return value;
}

}  // namespace vmferry::kube
