#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/clock.h"
#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/ovirt/rules.h"
#include "coordinator/provider/ovirt/time_zones.h"
#include "coordinator/provider/ovirt/translate.h"

// Whatever an engine answers is read, translated and checked without harm. Inputs: XML, or JSON
// when the first byte is '{', or a compiled time zone when it is 'T'.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmferry;
  using namespace vmferry::ovirt;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.starts_with('T')) {
    (void)is_utc_zone_data(text, WallTime{});
    return 0;
  }
  const Result<Document> document =
      text.starts_with('{') ? Document::parse_json(text, "vm") : Document::parse_xml(text);
  if (!document) return 0;
  const Vm vm = parse_vm(document->root());
  (void)translate(vm);
  (void)check_rules(vm, {.is_utc_compatible = [](std::string_view zone) { return zone.empty(); }});
  (void)parse_image_transfer(document->root());
  return 0;
}
