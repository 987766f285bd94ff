#pragma once

#include <functional>
#include <stop_token>
#include <thread>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/kube/reader.h"

namespace vmferry::kube {

// Follows all objects of one kind: lists, watches, lists again when the watch is too old, with
// back-off when the API is away. Calls `on_object` for every object seen and `on_deleted` for every
// one gone, on its own thread; the handlers must not block. Level-based: events may be merged.
class Informer {
 public:
  struct Handlers {
    std::function<void(const Object&)> on_object;
    std::function<void(const Object&)> on_deleted;
  };
  Informer(Reader& reader, const ResourceType& type, Handlers handlers, const Clock& clock,
           const Logger& log);

 private:
  void run(std::stop_token stop);
  Result<void> follow(std::stop_token stop);

  Reader& reader_;
  const ResourceType& type_;
  Handlers handlers_;
  const Clock& clock_;
  Logger log_;
  std::jthread thread_;  // last: stops before what it uses goes away
};

}  // namespace vmferry::kube
