// What scrolls by itself can be reached by the keyboard. The lines of a signature are no list of definitions.
addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("pre, .table-wrapper, .sig")) {
    element.tabIndex = 0;
  }
  for (const element of document.querySelectorAll(".sig dl, .sig dd")) {
    element.role = "none";
  }
});
