#pragma once

#include <string_view>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::kube {

enum class EventSeverity { Normal, Warning };

// Writes v1 Events about objects. The same reason and message again raise the count of the existing
// event instead of making another (its name derives from object, reason and message). A failure to
// write is logged, never passed on: an event must not stop an import.
class EventRecorder {
 public:
  EventRecorder(Reader& reader, Writer& writer, const Clock& clock, const Logger& log)
      : reader_(reader), writer_(writer), clock_(clock), log_(log) {}

  void record(const Object& about, EventSeverity severity, std::string_view reason,
              std::string_view message, std::stop_token stop);

 private:
  Reader& reader_;
  Writer& writer_;
  const Clock& clock_;
  Logger log_;
};

}  // namespace vmferry::kube
