#pragma once

#include <memory>
#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "transfer/open_sink.h"

namespace vmferry {

// A sparse (or preallocated) raw file `name` in `directory`; `shown` is its path for texts.
// Created when absent, unless options.resume. Errors as open_sink; with options.resume NotFound
// when it is absent and DataLoss when it has another size: start over.
Result<std::unique_ptr<DiskSink>> open_file_sink(const SinkOptions& options, UniqueFd directory,
                                                 const std::string& name, const std::string& shown);

}  // namespace vmferry
