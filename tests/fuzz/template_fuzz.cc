#include <cstddef>
#include <cstdint>
#include <string_view>

#include "coordinator/imports/template_processing.h"
#include "coordinator/kube/bounded_json.h"

// Whatever stands in a template's parameters and objects is expanded, or refused, within bounds.
// Inputs: {"parameters": [...], "objects": ...}, or a generator's pattern.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmferry::imports;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto always = [](std::uint32_t limit) { return limit - 1; };
  if (!text.starts_with('{')) {
    (void)generate_value(std::string(text), always);
    return 0;
  }
  const nlohmann::json source = vmferry::kube::parse_bounded_json(text);
  if (!source.is_object()) return 0;
  const auto filled = filled_parameters(source.value("parameters", nlohmann::json()), "name");
  const auto values = parameter_values(filled, always);
  if (!values) return 0;
  (void)expand_object(source.value("objects", nlohmann::json()),
                      source.value("labels", nlohmann::json()), *values);
  return 0;
}
