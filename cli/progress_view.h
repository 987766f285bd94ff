#pragma once

#include <string>
#include <vector>

#include "cli/import_view.h"

namespace vmferry::cli {

struct ProgressStyle {
  std::size_t width = 80;  // characters a line may have
  std::size_t height = 0;  // lines that fit, 0: all; finished imports give up their disks first
  bool color = false;      // ANSI colours
};

// The live view, pure: per import a head line, per disk a line with a bar. No line is wider than
// the style allows (colours apart), none ends in spaces.
std::vector<std::string> progress_lines(const std::vector<ImportView>& imports,
                                        const ProgressStyle& style);

// For pipes and log files: one line per import and disk, without bars and colours.
std::vector<std::string> plain_lines(const std::vector<ImportView>& imports);

// "[#####-----]" of `width` characters with the brackets; share is cut to 0..1.
std::string bar(double share, std::size_t width);

// One line about an import that ended: "default/web01: succeeded, VM web01, 2 disks, ...".
std::string final_line(const ImportView& import);

}  // namespace vmferry::cli
