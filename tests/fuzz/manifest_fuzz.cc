#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "coordinator/api/manifest.h"

// Whatever the text is: no crash, bounded work; and what was read is written so that it reads the
// same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto objects = vmferry::api::parse_manifests(text, "fuzz", "default");
  if (!objects) return 0;
  for (const vmferry::api::ManifestObject& item : *objects) {
    const auto again =
        vmferry::api::parse_manifests(vmferry::api::to_yaml(item.object), "again", "default");
    VMFERRY_CHECK(again.ok() && again->size() == 1);
  }
  return 0;
}
