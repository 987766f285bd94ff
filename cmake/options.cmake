# The interface targets that every library and program links: language level, and warnings. Who
# links ours into another project gets the first only.
add_library(vmferry_options INTERFACE)
target_compile_features(vmferry_options INTERFACE cxx_std_20)
target_include_directories(vmferry_options INTERFACE ${PROJECT_SOURCE_DIR})
add_library(vmferry_warnings INTERFACE)
target_compile_options(vmferry_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wformat=2
  # TRY() is a statement expression; GCC 12 warns falsely about std::variant and optional at -O2.
  -Wno-maybe-uninitialized -Wno-dangling-pointer)
if(VMFERRY_WARNINGS_AS_ERRORS)
  target_compile_options(vmferry_warnings INTERFACE -Werror)
endif()
if(PROJECT_IS_TOP_LEVEL)
  target_link_libraries(vmferry_options INTERFACE vmferry_warnings)
endif()
if(VMFERRY_SANITIZE)
  target_compile_options(vmferry_options INTERFACE -fsanitize=${VMFERRY_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(vmferry_options INTERFACE -fsanitize=${VMFERRY_SANITIZE})
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()
